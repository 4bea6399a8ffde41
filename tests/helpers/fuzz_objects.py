"""Saved objects for the fuzzer, and odd arrays in Python."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from fuzz_changes import Kind
from typing_extensions import override

from sgurinit import ItemFeatures, SGURInit, UserStart
from sgurinit.core import place_new_items
from sgurinit.data import planted
from sgurinit.experiments.run import METRIC_NAMES, read_trial
from sgurinit.integrations.vectors import VectorStore
from sgurinit.models import LightGCN
from sgurinit.models.blocks.graph_cache import cached_graph
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.models.checkpoint import load_model, save_model
from sgurinit.training import Trained, TrainSettings, train
from sgurinit.training.history import EpochRow

torch.set_num_threads(1)

SHORT = TrainSettings(max_epochs=2)
DATA = planted(60, 40)


def fit() -> SGURInit:
    return SGURInit(n_clusters=3, joint_dim=4, random_state=0).fit(DATA)


class Start(Kind):
    """A saved start."""

    @override
    def write(self, folder: Path) -> None:
        fit().start_.save(folder / "s.safetensors")

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        start = UserStart.load(folder / "s.safetensors")
        start.joint(4)
        repr(start)
        start.save(folder / "again.safetensors")
        start.save(folder / "again.parquet")


class Model(Kind):
    """A saved model."""

    @override
    def write(self, folder: Path) -> None:
        save_model(LightGCN(DATA), folder / "m.safetensors")

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        load_model(LightGCN, folder / "m.safetensors", DATA).embed()


class Store(Kind):
    """A vector store."""

    @override
    def write(self, folder: Path) -> None:
        VectorStore.from_start(fit().start_).save(folder / "store")

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        store = VectorStore.load(folder / "store")
        store.find_for_user(store.user_ids[0], 3)
        store.find_for_clicks(store.item_ids[:2], 3)


class Graph(Kind):
    """A kept graph."""

    @override
    def write(self, folder: Path) -> None:
        self.graph = build_graph(DATA.train_matrix())

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        graph = build_graph(DATA.train_matrix())
        if not forged and (graph.shape != self.graph.shape or (graph != self.graph).nnz):
            raise AssertionError("another graph was believed")
        SparseGraph(graph)(torch.ones(self.graph.shape[1], 2))


class Run(Kind):
    """A run that was stopped, and the result of one."""

    @override
    def write(self, folder: Path) -> None:
        result = {"best_epoch": 1, "epochs": 1, "seconds": 0.5, "stopped_early": False}
        result |= {name: dict.fromkeys(METRIC_NAMES, 0.1) for name in ("valid", "test")}
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "epochs.csv").write_text("epoch,recall@20\n0,0.05\n1,0.1\n")
        with suppress(KeyboardInterrupt):
            self.train(folder, stop_at=1)

    def train(self, folder: Path, stop_at: int | None = None) -> Trained:
        def stop(row: EpochRow) -> None:
            if row["epoch"] == stop_at:
                raise KeyboardInterrupt

        return train(DATA, "bprmf", "random", settings=SHORT, folder=folder, on_epoch=stop)

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        trial = read_trial(folder, "recall@20")
        float(trial.seconds + trial.score + sum(trial.best_so_far))
        history = self.train(folder).history
        if not forged and len(history) != 3:
            raise AssertionError("another history was believed")


@cached_graph(version=1)
def build_graph(matrix: sp.csr_array) -> sp.csr_array:
    return sp.csr_array(matrix @ matrix.T)


class Arrays(Kind):
    """Odd arrays, handed over to the functions that take arrays."""

    readable = False

    @override
    def write(self, folder: Path) -> None:
        (folder / "none").touch()

    @override
    def change(self, folder: Path, path: Path, rng: random.Random) -> bool:
        return False

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        use_odd_array(rng)


def use_odd_array(rng: random.Random) -> None:
    shape = rng.choice([(12,), (12, 3), (0, 3), (12, 0), (2, 2, 2), (12, 2)])
    kind = rng.choice([np.float16, np.float32, np.float64, np.int8, np.uint64, bool, complex, "U3"])
    values = (np.random.default_rng(rng.randrange(10**6)).normal(size=shape) * 3).astype(kind)
    if values.size and values.dtype.kind in "fc" and rng.random() < 0.3:
        with np.errstate(all="ignore"):
            values.flat[rng.randrange(values.size)] = rng.choice([np.nan, np.inf, 1e39, -1e308])
    forms = [lambda a: a, np.asfortranarray, lambda a: a[::-1], lambda a: a.tolist(), np.ma.array]
    forms += [lambda a: a.astype(a.dtype.newbyteorder(">")), lambda a: a.astype(object)]
    forms += [lambda a: torch.tensor(a.tolist()), lambda a: torch.tensor(a.tolist()).to_sparse()]
    try:
        values = rng.choice(forms)(values)
    except (TypeError, ValueError, RuntimeError):
        return
    good = np.random.default_rng(0).normal(size=(12, 3))
    lists = [[0, 1], [2, 3, 4], [5, 11]]
    uses = [
        lambda: SGURInit(n_clusters=2).fit(lists, {"t": values}),
        lambda: SGURInit(n_clusters=2, joint_dim=2).fit(values, {"t": good}),
        lambda: SGURInit(n_clusters=2).fit(lists, {"t": good}, item_ids=values),
        lambda: SGURInit(n_clusters=2).fit(lists, {"t": good}).start_.on(values),
        lambda: SGURInit(n_clusters=2).fit(lists, {"t": good}).start_.carry_to(values, width=2),
        lambda: SGURInit(n_clusters=2).fit(lists, {"t": good}).transform(values),
        lambda: SGURInit(n_clusters=2).fit(lists, {"t": good}).partial_fit(values),
        lambda: place_new_items(values, lists, {"t": good}),
        lambda: ItemFeatures(good, values),
    ]
    rng.choice(uses)()


KINDS: dict[str, type[Kind]] = {
    "start": Start,
    "model": Model,
    "store": Store,
    "graph": Graph,
    "run": Run,
    "arrays": Arrays,
}
