"""Milliseconds that a start adds to a run of another framework, and of a query to a vector store.

    OMP_NUM_THREADS=1 python benchmarks/hooks.py DATA

Needs the frameworks: run it in the virtual environment of `make frameworks`. Models of MMRec are
measured if SGURINIT_MMREC names a checkout. Starts have the defaults of the method, or the preset
`hybrid` where a row says so.

Prints one line of JSON per row. Figures are medians of five runs, and for stores of 500 queries.
They are processor time, which depends little on other work on the machine.
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
from sgurinit.integrations.compat import legacy_compat
from sgurinit.integrations.torch import attach
from sgurinit.integrations.vectors import INDEX_LIBRARIES, VectorStore

WIDTH = 64


def time_median(make: Callable[[], Any], act: Callable[[Any], Any]) -> float:
    """Compute the median milliseconds of `act` on the result of `make`."""
    times = []
    for _ in range(5):
        made = make()
        began = process_time()
        act(made)
        times.append(1000 * (process_time() - began))
    return median(times)


def print_row(name: str, **figures: float) -> None:
    """Print one row."""
    print(json.dumps({"what": name} | {key: round(value, 2) for key, value in figures.items()}))


def measure_hooks(data: Dataset, start: UserStart) -> None:
    """Measure functions that fill the tables of a model from a start."""

    def module() -> nn.Module:
        tables = nn.Embedding(data.n_users, WIDTH), nn.Embedding(data.n_items, WIDTH)
        return nn.ModuleDict(dict(zip(("user", "item"), tables, strict=True)))

    print_row("attach, any torch module", ms=time_median(module, lambda m: attach(m, start)))
    nodes = data.n_users + data.n_items
    print_row(
        "pyg.initialize_nodes_",
        ms=time_median(
            lambda: LightGCN(nodes, WIDTH, num_layers=2),
            lambda m: pyg.initialize_nodes_(m.embedding, start),
        ),
    )
    matrix = sp.csr_matrix(data.train_matrix())
    matrix.indices, matrix.indptr = matrix.indices.astype("i4"), matrix.indptr.astype("i4")
    print_row(
        "implicit.set_factors",
        ms=time_median(
            lambda: AlternatingLeastSquares(WIDTH, num_threads=1),
            lambda m: implicit.set_factors(m, matrix, start),
        ),
    )


def measure_mmrec(path: str, start: UserStart) -> None:
    """Measure finding and filling the tables of MMRec models."""
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
            str(part)  # as a side effect, counts what the loader needs
            loader = TrainDataLoader(config, part, batch_size=2048)
            model = get_model(name)(config, loader)
            mmrec.find_tables(model, start, loader)  # the first step compiles code
            print_row(
                f"mmrec.attach, {name}",
                ms=time_median(lambda m=model: m, lambda m, d=loader: mmrec.attach(m, start, d)),
            )


def measure_stores(start: UserStart) -> None:
    """Measure the nearest items of a known user, and of a new user from five clicks."""
    draw = np.random.default_rng(0)
    for name in INDEX_LIBRARIES:
        vectors = VectorStore.from_start(start, WIDTH, index=name)
        users = draw.choice(vectors.user_ids, 500)
        clicks = [draw.choice(vectors.item_ids, 5, replace=False).tolist() for _ in range(500)]
        for what, query, queries in (
            ("known user", vectors.find_for_user, users.tolist()),
            ("five clicks", vectors.find_for_clicks, clicks),
        ):
            times = []
            for argument in queries:
                began = process_time()
                query(argument)
                times.append(1000 * (process_time() - began))
            print_row(f"{name}, {what}", ms=median(times), p95=quantiles(times, n=20)[-1])


def time_joint(data: Dataset, name: str) -> float:
    """Compute the median milliseconds of the joint space, after a new fit of a preset."""
    return time_median(
        lambda: SGURInit.from_preset(name, random_state=0).fit(data).start_,
        lambda start: start.joint(WIDTH),
    )


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    path = parser.parse_args().data
    torch.set_num_threads(1)
    data = load_dataset(path)
    fit = time_median(lambda: None, lambda _: SGURInit(random_state=0, n_jobs=1).fit(data))
    start = SGURInit(random_state=0).fit(data).start_
    print_row("SGURInit.fit", ms=fit)
    print_row("start.joint, once per width", ms=time_joint(data, "published"))
    print_row("start.joint of hybrid, once per width", ms=time_joint(data, "hybrid"))
    start.joint(WIDTH)
    measure_hooks(data, start)
    measure_stores(start)
    if "SGURINIT_MMREC" in os.environ:
        measure_mmrec(path, start)


if __name__ == "__main__":
    main()
