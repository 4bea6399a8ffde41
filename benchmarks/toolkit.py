"""Runs a model of the public toolkit MMRec, unmodified, on one of our data sets.

    python benchmarks/toolkit.py CHECKOUT MODEL DATA [--epochs N] [--seed N] [--threads N]
        [--fast-laplacian] [--scale-features]

MODEL is our name of it; the settings are those under which the toolkit's is the same as ours by
default. CHECKOUT is a clone of https://github.com/enoche/MMRec beside the project. Its imports of
matplotlib and torch_geometric must be installed; what else it needs of today's libraries it gets
from `sgurinit.integrations._compat`, from outside.

It normalises a dense item graph by two products with diagonal matrices; `--fast-laplacian` scales
rows and columns instead. That gives the same numbers many times sooner, so it is for figures of
quality only. `--scale-features` hands it features divided by their largest value, as VBPR's authors
and ours do.

Prints one line of JSON: settings, seconds per epoch, validation and test metrics of the epoch with
the best validation Recall@20, peak memory. The toolkit has two slots for modalities: the data
set's last modality goes into the image slot and its first into the text slot.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from torch import Tensor

from sgurinit import load_dataset
from sgurinit.data import Dataset
from sgurinit.integrations._compat import modernised
from sgurinit.models.blocks.user_graph import co_interactions

# The toolkit's models, each with the settings under which it is the same model as ours by default.
TOOLKIT: dict[str, tuple[str, dict[str, float]]] = {
    "bm3": ("BM3", {"n_layers": 1, "dropout": 0.5, "reg_weight": 0.1}),
    "bprmf": ("BPR", {"reg_weight": 1e-4}),
    "dragon": ("DRAGON", {"learning_rate": 1e-4, "reg_weight": 1e-3}),
    "dualgnn": ("DualGNN", {"learning_rate": 1e-4, "reg_weight": 0.1}),
    "freedom": ("FREEDOM", {"dropout": 0.8, "reg_weight": 1e-4}),
    "grcn": ("GRCN", {"learning_rate": 1e-4, "reg_weight": 1e-3}),
    "lattice": ("LATTICE", {"learning_rate": 5e-4, "reg_weight": 1e-5}),
    "lgmrec": ("LGMRec", {}),
    "lightgcn": ("LightGCN", {"n_layers": 2, "reg_weight": 1e-4}),
    "mgcn": ("MGCN", {"cl_loss": 0.01}),
    "mmgcn": ("MMGCN", {"learning_rate": 5e-4, "reg_weight": 0.1}),
    "slmrec": (
        "SLMRec",
        {"learning_rate": 0.01, "weight_decay": 1e-4, "ssl_alpha": 0.1, "ssl_temp": 0.2},
    ),
    "smore": (
        "SMORE",
        {
            "n_ui_layers": 4,
            "image_knn_k": 40,
            "text_knn_k": 15,
            "reg_weight": 1e-4,
            "dropout_rate": 0.1,
        },
    ),
    "vbpr": ("VBPR", {"reg_weight": 1e-4}),
}

USER_GRAPH = "user_graph.npy"
USERS_KEPT = 200  # per user, as the toolkit's own script keeps


def write_data(dataset: Dataset, folder: Path, *, scale: bool) -> dict[str, Any]:
    """Write `dataset` in the toolkit's layout and return the settings that name it."""
    place = folder / dataset.name
    place.mkdir()
    parts = [
        pl.DataFrame({"userID": part.users, "itemID": part.items}).with_columns(x_label=label)
        for label, part in enumerate((dataset.train, dataset.valid, dataset.test))
    ]
    pl.concat(parts).sort("userID", "x_label").write_csv(place / "all.inter", separator="\t")
    tables = [features.values for features in dataset.features.values()]
    if len(tables) > 2:
        sys.exit(f"{dataset.name} has {len(tables)} modalities, the toolkit takes two")
    if scale:
        tables = [table / np.abs(table).max() for table in tables]
    np.save(place / "image.npy", tables[-1])
    np.save(place / "text.npy", tables[0])
    neighbours = co_interactions(dataset.train_matrix(), USERS_KEPT)
    graph = {}
    for user in range(dataset.n_users):
        of_user = slice(*neighbours.indptr[user : user + 2])
        order = np.argsort(-neighbours.data[of_user], kind="stable")
        graph[user] = [
            neighbours.indices[of_user][order].tolist(),
            neighbours.data[of_user][order].tolist(),
        ]
    np.save(place / USER_GRAPH, np.array(graph, dtype=object), allow_pickle=True)
    return {
        "data_path": f"{folder}/",
        "inter_file_name": "all.inter",
        "USER_ID_FIELD": "userID",
        "ITEM_ID_FIELD": "itemID",
        "TIME_FIELD": "timestamp",
        "vision_feature_file": "image.npy",
        "text_feature_file": "text.npy",
        "user_graph_dict_file": USER_GRAPH,
        "filter_out_cod_start_users": True,
    }


def scaled_laplacian(adjacency: Tensor) -> Tensor:
    """Compute the toolkit's normalised Laplacian without its two N x N x N products."""
    scale = adjacency.sum(-1).pow(-0.5)
    scale[torch.isinf(scale)] = 0.0
    return scale[:, None] * adjacency * scale


def constructor(get_model: Callable[[str], Any]) -> Callable[[str], Any]:
    """Some models declare a parameter that their first step then fails to overwrite; drop it."""

    def found(name: str) -> Any:
        def construct(*args: Any) -> Any:
            model = get_model(name)(*args)
            model._parameters.pop("result_embed", None)
            return model

        return construct

    return found


def fields(model: str, checkout: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Settings of one run: the first of each list that the toolkit would search, or the given."""
    path = checkout / "src" / "configs" / "model" / f"{model}.yaml"
    settings = yaml.safe_load(re.sub(r"(\d)e-", r"\1.0e-", path.read_text()))
    searched = settings.get("hyper_parameters", [])
    chosen = {name: settings[name][0] for name in searched if isinstance(settings.get(name), list)}
    chosen |= given
    return {name: [value] if name in searched else value for name, value in chosen.items()}


def figures(log: str) -> dict[str, Any]:
    """Read what the toolkit logged."""
    training = [float(s) for s in re.findall(r"training \[time: ([\d.]+)s", log)]
    evaluation = [float(s) for s in re.findall(r"evaluating \[time: ([\d.]+)s", log)]
    best = re.search(r"best eval result in epoch (\d+)", log)
    found: dict[str, Any] = {
        "train_seconds": training,
        "valid_seconds": evaluation,
        "best_epoch": int(best[1]) if best else None,
    }
    for split in ("valid", "test"):
        line = re.findall(rf"best {split}: (.*)", log)[-1]
        metrics = dict(re.findall(r"(\w+@\d+): ([\d.]+)", line))
        found[split] = {
            f"{name}@{k}": float(metrics[f"{name}@{k}"])
            for name in ("recall", "ndcg")
            for k in (10, 20)
        }
    return found


def main() -> None:
    """Run one model and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("model", choices=sorted(TOOLKIT))
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=999)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast-laplacian", action="store_true")
    parser.add_argument("--scale-features", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dataset = load_dataset(args.data)
    name, given = TOOLKIT[args.model]
    checkout = args.checkout.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        config = write_data(dataset, Path(temporary), scale=args.scale_features)
        config |= {"use_gpu": False, "gpu_id": 0, "epochs": args.epochs, "seed": [args.seed]}
        config |= fields(name, checkout, given)
        log = Path(temporary) / "log.txt"
        os.chdir(checkout / "src")
        sys.path.insert(0, str(checkout / "src"))
        output, errors = os.dup(1), os.dup(2)
        with (
            log.open("w") as file,
            modernised(),
        ):  # its log is the only place where it says how long things took
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                from utils import quick_start, utils  # noqa: PLC0415

                if args.fast_laplacian:
                    utils.compute_normalized_laplacian = scaled_laplacian
                quick_start.get_model = constructor(quick_start.get_model)
                quick_start.quick_start(name, dataset.name, config, save_model=False)
            finally:
                os.dup2(errors, 2)
        found = figures(log.read_text())
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if args.scale_features:
        given = {**given, "scale_features": True}
    row = {"model": args.model, "seed": args.seed, "settings": given, **found}
    os.write(output, (json.dumps(row) + "\n").encode())


if __name__ == "__main__":
    main()
