"""Change files of one kind at random and read them: ``fuzz_objects.py KIND SECONDS FOLDER``."""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from sgurinit import ItemFeatures, SGURInit, UserStart
from sgurinit.core import place_new_items
from sgurinit.core.inputs.fingerprint import hash_arrays
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.run import METRIC_NAMES, read_trial
from sgurinit.integrations.vectors import VectorStore
from sgurinit.models import LightGCN
from sgurinit.models.blocks.graph_cache import cached_graph
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.models.checkpoint import load_model, save_model
from sgurinit.runtime import get_cache_folder
from sgurinit.training import Trained, TrainSettings, train
from sgurinit.training.loop import EpochRow

# Beyond what is in use once everything is imported.
MORE_MEMORY = 2 << 30
SETTINGS = {
    "models": {"bprmf": {}},
    "arms": {"random": {"kind": "random"}},
    "seeds": 1,
    "train": {},
    "mask_valid": True,
}
SHORT = TrainSettings(max_epochs=2)
ODD = [
    None,
    True,
    -1,
    0,
    1,
    7,
    2**31,
    2**63,
    10**12,
    0.5,
    "x",
    "",
    [],
    {},
    [[]],
    "\x1b[31m<script>",
]


def damage(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(max(1, len(data)))
        how = rng.randrange(5)
        if how == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[at:]
        elif how == 2:
            data[at:at] = rng.randbytes(rng.choice([1, 8, 100]))
        elif how == 3:
            data[at : at + 8] = struct.pack("<q", rng.choice([0, -1, 2**31, 2**62]))
        else:
            data[at : at + rng.choice([1, 100])] = b""
    return bytes(data)


def odd_json(value: object, rng: random.Random) -> object:
    """Replace one part of a JSON value by another."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: odd_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], odd_json(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)


def odd_array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Change values, the shape or the type of an array."""
    how = rng.randrange(6)
    if how == 0 and array.size:
        changed = array.copy()
        changed.flat[rng.randrange(array.size)] = rng.choice([0, -1, 99, 2**31 - 1])
        return changed
    if how == 1:
        return array[: rng.randrange(len(array) + 1)] if array.ndim else array
    if how == 2:
        return array.astype(rng.choice([np.float64, np.float16, np.int64, np.uint8]))
    if how == 3 and array.dtype.kind == "f":
        return array * np.float32(rng.choice([np.nan, np.inf, 1e38]))
    return array[None] if how == 4 else array.ravel()


def change_tensors(path: Path, rng: random.Random) -> bool:
    """Change a safetensors file; return whether its checksum was made to fit."""
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata() or {})
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata and rng.random() < 0.5:
        key = rng.choice(list(metadata))
        try:
            metadata[key] = json.dumps(odd_json(json.loads(metadata[key]), rng))
        except ValueError:
            metadata[key] = rng.choice(["", "[" * 50_000, "null"])
    else:
        key = rng.choice(list(arrays))
        arrays[key] = odd_array(arrays[key], rng)
    forged = rng.random() < 0.7 and "checksum" in metadata
    if forged:
        del metadata["checksum"]
        metadata["checksum"] = hash_arrays(arrays, metadata)
    save_file({name: np.ascontiguousarray(part) for name, part in arrays.items()}, path, metadata)
    return forged


def change_file(path: Path, rng: random.Random) -> bool:
    """Change a file, by its bytes or by what they mean; see `change_tensors`."""
    if path.suffix == ".safetensors" and rng.random() < 0.6:
        return change_tensors(path, rng)
    if path.suffix == ".json" and rng.random() < 0.7:
        path.write_text(json.dumps(odd_json(json.loads(path.read_text()), rng)))
    else:
        path.write_bytes(damage(path.read_bytes(), rng))
    return False


class Files:
    """A kind of file: `write` makes whole ones in a folder, `read` reads and uses them."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder / "files"
        self.data = planted(60, 40)
        self.estimator = SGURInit(n_clusters=3, joint_dim=4, random_state=0).fit(self.data)
        self.write()
        self.whole = {path: path.read_bytes() for path in self.files()}

    def files(self) -> list[Path]:
        root = get_cache_folder() if self.kind == "graph" else self.folder
        return sorted(path for path in root.rglob("*") if path.is_file())

    def restore(self) -> None:
        for path in self.files():
            if path not in self.whole:
                path.unlink()
        for path, content in self.whole.items():
            path.write_bytes(content)

    def write(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if self.kind == "start":
            self.estimator.start_.save(self.folder / "s.safetensors")
        elif self.kind == "model":
            save_model(LightGCN(self.data), self.folder / "m.safetensors")
        elif self.kind == "store":
            VectorStore.from_start(self.estimator.start_).save(self.folder / "store")
        elif self.kind == "graph":
            self.graph = build_graph(self.data.train_matrix())
        elif self.kind == "run":
            result = {"best_epoch": 1, "epochs": 1, "seconds": 0.5, "stopped_early": False}
            result |= {name: dict.fromkeys(METRIC_NAMES, 0.1) for name in ("valid", "test")}
            (self.folder / "result.json").write_text(json.dumps(result))
            (self.folder / "epochs.csv").write_text("epoch,recall@20\n0,0.05\n1,0.1\n")
            with suppress(KeyboardInterrupt):
                self.train(stop_at=1)
        elif self.kind == "summary":
            entry = {"model": "bprmf", "arm": "random", "test": {"recall@20": {"mean": 0.1}}}
            entry |= {"groups": {}, "epochs": [3], "seconds": [0.5]}
            summary = {"settings": SETTINGS, "results": [entry]}
            (self.folder / "summary.json").write_text(json.dumps(summary))
            (self.folder / "results.csv").write_text(
                "model,arm,seed,split,group,metric,k,value\nbprmf,random,0,valid,all,recall,20,0.1\n"
            )
            (self.folder / "curves.csv").write_text(
                "model,arm,seed,epoch,recall@20\nbprmf,random,0,1,0.1\n"
            )

    def train(self, stop_at: int | None = None) -> Trained:
        def stop(row: EpochRow) -> None:
            if row["epoch"] == stop_at:
                raise KeyboardInterrupt

        return train(
            self.data, "bprmf", "random", settings=SHORT, folder=self.folder, on_epoch=stop
        )

    def read(self, *, forged: bool = False) -> None:
        if self.kind == "start":
            start = UserStart.load(self.folder / "s.safetensors")
            start.joint(4)
            repr(start)
            start.save(self.folder / "again.safetensors")
            start.save(self.folder / "again.parquet")
        elif self.kind == "model":
            load_model(LightGCN, self.folder / "m.safetensors", self.data).embed()
        elif self.kind == "store":
            store = VectorStore.load(self.folder / "store")
            store.find_for_user(store.user_ids[0], 3)
            store.find_for_clicks(store.item_ids[:2], 3)
        elif self.kind == "graph":
            graph = build_graph(self.data.train_matrix())
            if not forged and (graph.shape != self.graph.shape or (graph != self.graph).nnz):
                raise AssertionError("another graph was believed")
            SparseGraph(graph)(torch.ones(self.graph.shape[1], 2))
        elif self.kind == "run":
            trial = read_trial(self.folder, "recall@20")
            float(trial.seconds + trial.score + sum(trial.best_so_far))
            history = self.train().history
            if not forged and len(history) != 3:
                raise AssertionError("another history was believed")
        elif self.kind == "summary":
            found = ComparisonFolder.read(self.folder)
            float(found.seconds)
            found.results()
            found.headline_curves("bprmf")
            found.headline_validation("bprmf")


@cached_graph(version=1)
def build_graph(matrix: sp.csr_array) -> sp.csr_array:
    return sp.csr_array(matrix @ matrix.T)


def odd_objects(rng: random.Random) -> None:
    """Hand odd arrays over to the functions that take arrays."""
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


def main(kind: str, seconds: float, folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rng, until = random.Random(0), time.monotonic() + seconds  # noqa: S311 - no secret
    files = Files(kind, folder)
    if kind != "arrays":
        files.read()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY,) * 2)
    tried, wrong = 0, {}
    while tried < 20 or time.monotonic() < until:
        tried += 1
        try:
            if kind == "arrays":
                odd_objects(rng)
            else:
                files.restore()
                path = rng.choice(list(files.whole))
                files.read(forged=change_file(path, rng))
        except InputError as error:
            if "\n" in str(error):
                wrong[f"two lines: {error}"] = tried
        except BaseException as error:  # a finding
            last = error.__traceback__
            while (
                last.tb_next is not None and "sgurinit" in last.tb_next.tb_frame.f_code.co_filename
            ):
                last = last.tb_next
            place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
            wrong.setdefault(f"{type(error).__name__} at {place}: {str(error)[:200]}", tried)
    sys.stdout.write(json.dumps({"tried": tried, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
