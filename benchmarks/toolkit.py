"""Run a model of the public toolkit MMRec, unmodified, on a data set of this library.

    python benchmarks/toolkit.py CHECKOUT MODEL DATA [--epochs N] [--seed N] [--threads N]
        [--device cpu|cuda] [--fast-laplacian] [--scale-features]

CHECKOUT is a clone of https://github.com/enoche/MMRec outside of this project. Its imports
matplotlib and torch_geometric must be installed. `sgurinit.integrations.compat` adapts it to
current versions of other libraries, without changes to the checkout. MODEL is the name in this
library. It runs under the settings with which the toolkit's model is the same as the default here.

The toolkit normalizes a dense item graph by two products with diagonal matrices.
`--fast-laplacian` scales rows and columns instead. The numbers are the same and computed much
faster, so use it for scores only, not for times. `--scale-features` divides the features by their
largest value, as VBPR's authors and this library do.

Prints one line of JSON: settings, seconds per epoch, validation and test metrics of the epoch with
the best validation Recall@20, and peak memory. The toolkit has two slots for modalities. The image
slot gets the data set's last modality, the text slot its first.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from processes import read_peak_bytes, take_turn
from torch import Tensor

from sgurinit import load_dataset
from sgurinit.data import Dataset
from sgurinit.integrations.compat import legacy_compat
from sgurinit.models.blocks.user_graph import count_co_interactions

# Models of the toolkit by their name in this library, with the settings under which they are the
# same as the defaults here.
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
NEIGHBORS = 200  # per user, as in the toolkit's own script


def write_data(dataset: Dataset, folder: Path, *, scale: bool) -> dict[str, Any]:
    """Write a data set in the toolkit's layout and return the settings for it."""
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
    neighbors = count_co_interactions(dataset.train_matrix(), NEIGHBORS)
    graph = {}
    for user in range(dataset.n_users):
        of_user = slice(*neighbors.indptr[user : user + 2])
        order = np.argsort(-neighbors.data[of_user], kind="stable")
        graph[user] = [
            neighbors.indices[of_user][order].tolist(),
            neighbors.data[of_user][order].tolist(),
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


def compute_laplacian(adjacency: Tensor) -> Tensor:
    """Compute the toolkit's normalized Laplacian without its two N x N x N products."""
    scale = adjacency.sum(-1).pow(-0.5)
    scale[torch.isinf(scale)] = 0.0
    return scale[:, None] * adjacency * scale


def drop_result_embed(get_model: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap `get_model` so that models have no parameter ``result_embed``.

    Some models declare it, and then fail in their first step when they assign a tensor to it.
    """

    def get(name: str) -> Any:
        def construct(*args: Any) -> Any:
            model = get_model(name)(*args)
            model._parameters.pop("result_embed", None)
            return model

        return construct

    return get


def choose_settings(model: str, checkout: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Choose the settings of a run: the given ones, and the first of each list to search."""
    path = checkout / "src" / "configs" / "model" / f"{model}.yaml"
    settings = yaml.safe_load(re.sub(r"(\d)e-", r"\1.0e-", path.read_text()))
    searched = settings.get("hyper_parameters", [])
    chosen = {name: settings[name][0] for name in searched if isinstance(settings.get(name), list)}
    chosen |= given
    return {name: [value] if name in searched else value for name, value in chosen.items()}


def parse_log(log: str) -> dict[str, Any]:
    """Parse seconds per epoch and metrics from the toolkit's log."""
    training = [float(s) for s in re.findall(r"training \[time: ([\d.]+)s", log)]
    evaluation = [float(s) for s in re.findall(r"evaluating \[time: ([\d.]+)s", log)]
    best = re.search(r"best eval result in epoch (\d+)", log)
    found: dict[str, Any] = {
        "train_seconds": training,
        "valid_seconds": evaluation,
        "best_epoch": int(best[1]) + 1 if best else None,  # the toolkit counts from 0
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


def main(words: Sequence[str] | None = None) -> None:
    """Run one model and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("model", choices=sorted(TOOLKIT))
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=999)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--lock", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fast-laplacian", action="store_true")
    parser.add_argument("--scale-features", action="store_true")
    args = parser.parse_args(words)
    torch.set_num_threads(args.threads)
    dataset = load_dataset(args.data)
    name, given = TOOLKIT[args.model]
    checkout = args.checkout.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        config = write_data(dataset, Path(temporary), scale=args.scale_features)
        config |= {"use_gpu": args.device == "cuda", "gpu_id": 0}
        config |= {"epochs": args.epochs, "seed": [args.seed]}
        config |= choose_settings(name, checkout, given)
        log = Path(temporary) / "log.txt"
        os.chdir(checkout / "src")
        sys.path.insert(0, str(checkout / "src"))
        output, errors = os.dup(1), os.dup(2)
        # Only the toolkit's log has the seconds of each epoch.
        with log.open("w") as file, take_turn(args.lock, args.device), legacy_compat():
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                from utils import quick_start, utils  # noqa: PLC0415

                if args.fast_laplacian:
                    utils.compute_normalized_laplacian = compute_laplacian
                quick_start.get_model = drop_result_embed(quick_start.get_model)
                quick_start.quick_start(name, dataset.name, config, save_model=False)
            finally:
                os.dup2(errors, 2)
        found = parse_log(log.read_text())
    found["peak_mb"] = read_peak_bytes() / 2**20
    if args.scale_features:
        given = {**given, "scale_features": True}
    row = {"model": args.model, "seed": args.seed, "settings": given, **found}
    os.write(output, (json.dumps(row) + "\n").encode())


if __name__ == "__main__":
    main()
