"""Milliseconds that a start costs a run of another framework, once, and a question to a store.

    OMP_NUM_THREADS=1 python benchmarks/hooks.py DATA

Runs where the frameworks are: in the virtual environment of `make frameworks`; with SGURINIT_MMREC
naming a checkout, models of MMRec are measured too. Starts have the method's defaults but where a
row says `hybrid`, the preset. Prints one line of JSON per row: medians of
five runs, of 500 questions for the stores, in processor time, so that what else runs on the machine
counts for little.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from implicit.als import AlternatingLeastSquares
from torch import nn
from torch_geometric.nn import LightGCN

from sgurinit import SGURInit, load_dataset
from sgurinit.core import UserStart
from sgurinit.data import Dataset
from sgurinit.data.convert import convert
from sgurinit.integrations import implicit, mmrec, pyg
from sgurinit.integrations._compat import legacy_compat
from sgurinit.integrations.torch import attach
from sgurinit.integrations.vectors import INDEX_LIBRARIES, VectorStore

WIDTH = 64


def timed(make: Callable[[], Any], act: Callable[[Any], Any]) -> float:
    """Median milliseconds of `act` on what `make` gives."""
    times = []
    for _ in range(5):
        made = make()
        began = process_time()
        act(made)
        times.append(1000 * (process_time() - began))
    return median(times)


def row(name: str, **figures: float) -> None:
    """Print one line."""
    print(json.dumps({"what": name} | {key: round(value, 2) for key, value in figures.items()}))


def hooks(data: Dataset, start: UserStart) -> None:
    """What fills tables once a start is there."""

    def module() -> nn.Module:
        tables = nn.Embedding(data.n_users, WIDTH), nn.Embedding(data.n_items, WIDTH)
        return nn.ModuleDict(dict(zip(("user", "item"), tables, strict=True)))

    row("attach, any torch module", ms=timed(module, lambda m: attach(m, start)))
    nodes = data.n_users + data.n_items
    row(
        "pyg.initialize_nodes_",
        ms=timed(
            lambda: LightGCN(nodes, WIDTH, num_layers=2),
            lambda m: pyg.initialize_nodes_(m.embedding, start),
        ),
    )
    matrix = sp.csr_matrix(data.train_matrix())
    matrix.indices, matrix.indptr = matrix.indices.astype("i4"), matrix.indptr.astype("i4")
    row(
        "implicit.set_factors",
        ms=timed(
            lambda: AlternatingLeastSquares(WIDTH, num_threads=1),
            lambda m: implicit.set_factors(m, matrix, start),
        ),
    )


def trees(path: str, start: UserStart) -> None:
    """Finding tables in models of MMRec, one step of each, and filling them."""
    sources = Path(os.environ["SGURINIT_MMREC"]).resolve() / "src"
    sys.path.insert(0, str(sources))
    with tempfile.TemporaryDirectory() as temporary, legacy_compat():
        place = Path(temporary) / "data"
        convert(str(Path(path).resolve()), place, "mmrec")
        next(place.glob("*.inter")).rename(place / "data.inter")
        os.chdir(sources)
        from utils.configurator import Config
        from utils.dataloader import TrainDataLoader
        from utils.dataset import RecDataset
        from utils.utils import get_model

        for name in ("VBPR", "LightGCN", "FREEDOM", "MMGCN"):
            settings = {
                "use_gpu": False, "data_path": f"{temporary}/", "inter_file_name": "data.inter",
                "USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID",
                "vision_feature_file": "image_feat.npy", "text_feature_file": "none.npy",
            }  # fmt: skip
            config = Config(name, "data", settings)
            for field in config["hyper_parameters"]:
                value = config[field]
                config[field] = value[0] if isinstance(value, list) else value
            part = RecDataset(config).split()[0]
            str(part)  # counts what the loader needs
            loader = TrainDataLoader(config, part, batch_size=2048)
            model = get_model(name)(config, loader)
            mmrec.find_tables(model, start, loader)  # the first step compiles what it needs
            row(
                f"mmrec.attach, {name}",
                ms=timed(lambda m=model: m, lambda m, d=loader: mmrec.attach(m, start, d)),
            )


def stores(start: UserStart) -> None:
    """Nearest items of a known user, and of a new one from five clicks."""
    draw = np.random.default_rng(0)
    for name in INDEX_LIBRARIES:
        vectors = VectorStore.from_start(start, WIDTH, index=name)
        users = draw.choice(vectors.user_ids, 500)
        clicks = [draw.choice(vectors.item_ids, 5, replace=False).tolist() for _ in range(500)]
        for what, ask, asked in (
            ("known user", vectors.find_for_user, users.tolist()),
            ("five clicks", vectors.find_for_clicks, clicks),
        ):
            times = []
            for question in asked:
                began = process_time()
                ask(question)
                times.append(1000 * (process_time() - began))
            row(f"{name}, {what}", ms=median(times), p95=quantiles(times, n=20)[-1])


def joint(data: Dataset, name: str) -> float:
    """Median milliseconds of the joint space of a fresh fit of a preset."""
    return timed(
        lambda: SGURInit.from_preset(name, random_state=0).fit(data).start_,
        lambda start: start.joint(WIDTH),
    )


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    path = parser.parse_args().data
    torch.set_num_threads(1)
    data = load_dataset(path)
    fit = timed(lambda: None, lambda _: SGURInit(random_state=0, n_jobs=1).fit(data))
    start = SGURInit(random_state=0).fit(data).start_
    row("SGURInit.fit", ms=fit)
    row("start.joint, once per width", ms=joint(data, "published"))
    row("start.joint of hybrid, once per width", ms=joint(data, "hybrid"))
    start.joint(WIDTH)
    hooks(data, start)
    stores(start)
    if "SGURINIT_MMREC" in os.environ:
        trees(path, start)


if __name__ == "__main__":
    main()
