"""Rank items with untrained vectors, to see what a user should be computed from.

    python studies/archive/untrained.py data/tiktok data/ml-100k

Every variant is the hybrid start in the joint space (64 columns), changed as its name says. It
ranks all items for the users of the validation split. Nothing is trained; only K-means is random.
Writes `untrained/results.csv`: a row per data set, variant and group of users by number of training
interactions. The test split is read for a few variants only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from sgurinit import SGURInit, load_dataset
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.start import JointStart
from sgurinit.core.steps.preprocess import preprocess_rows
from sgurinit.data import Dataset
from sgurinit.evaluation import FullRanking

OUT = Path(__file__).parent / "untrained" / "results.csv"
WIDTH = 64
WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
SHARES = (0.0, 0.25, 0.75, 1.0)
CLUSTERS = (2, 4, 16, 64)
KAPPAS = (1.0, 4.0, 16.0)
BANDS = (0, 2, 3, 6, 11, 21, 51)
READ_ON_TEST = {
    "popularity",
    "random",
    "hybrid",
    "local_weight 0.1",
    "local_weight 1.0",
    "local_weight 1.0, sym",
}
Pair = tuple[np.ndarray, np.ndarray]


def row_sums_to_one(matrix: sp.csr_array) -> sp.csr_array:
    """Divide every row by its sum; rows without entries stay zero."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    return sp.csr_array(sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ matrix)


def whitened(table: ItemFeatures) -> ItemFeatures:
    """Compute principal coordinates of unit variance; missing rows stay missing."""
    values = np.zeros((table.n_items, table.width))
    values[table.mask()] = preprocess_rows(table.rows(), ["whiten"])
    return ItemFeatures(values, table.mask())


def hybrid(**parameters: object) -> SGURInit:
    """Return the hybrid with other parameters. A new share of columns has no upper limit."""
    if "collaborative" in parameters:
        parameters = {"collaborative_rank": None, **parameters}
    return SGURInit.from_preset("hybrid", random_state=0, **parameters)


def variants(dataset: Dataset) -> Iterator[tuple[str, Pair]]:
    """Yield users and items of every variant, with its name."""

    @cache
    def fit(**parameters: object) -> JointStart:
        return hybrid(**parameters).fit(dataset).start_.joint(WIDTH)

    def fitted(**parameters: object) -> Pair:
        return fit(**parameters).users, fit(**parameters).items

    rng = np.random.default_rng(0)
    shape = (dataset.n_users, dataset.n_items)
    yield "popularity", (np.ones((shape[0], 1)), dataset.popularity()[:, None].astype(float))
    yield "random", (rng.normal(size=(shape[0], WIDTH)), rng.normal(size=(shape[1], WIDTH)))
    yield "hybrid", fitted()
    for local_weight in WEIGHTS:
        yield f"local_weight {local_weight}", fitted(local_weight=local_weight)
    yield "local_weight 1.0, sym", fitted(local_weight=1.0, local_norm="sym")
    for clusters in CLUSTERS:
        yield (
            f"local_weight 0.0, {clusters} clusters",
            fitted(local_weight=0.0, n_clusters=clusters),
        )
    for share in SHARES:
        yield f"collaborative {share}", fitted(collaborative=share)

    matrix = sp.csr_array(dataset.train_matrix(), dtype=float)
    degrees = np.asarray(matrix.sum(axis=1)).ravel()[:, None]
    common, items = fitted(local_weight=0.0)
    local, _ = fitted(local_weight=1.0)
    for kappa in KAPPAS:
        own = degrees / (degrees + kappa)
        yield f"local_weight n / (n + {kappa:.0f})", (own * local + (1 - own) * common, items)
    clustered = fit().clusters
    centroids, labels = clustered.centroids, clustered.labels
    distances = ((items[:, None] - centroids[None]) ** 2).sum(axis=2)
    within = distances[np.arange(len(items)), labels].mean()
    weights = np.exp(-(distances - distances.min(axis=1, keepdims=True)) / (2 * within / WIDTH))
    soft = weights / weights.sum(axis=1, keepdims=True) @ centroids
    means = row_sums_to_one(matrix)
    yield "local_weight 0.0, soft clusters", (means @ soft, items)
    alike = np.eye(len(centroids))[fit(collaborative=0.0).clusters.labels]
    centres = alike / alike.sum(axis=0) @ (alike.T @ items)
    yield "local_weight 0.0, clusters of content", (means @ centres, items)

    white = {name: whitened(table) for name, table in dataset.features.items()}
    start = hybrid().fit(matrix, white).start_.joint(WIDTH)
    yield "features whitened", (start.users, start.items)

    popularity = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1)
    for power in (0.5, 1.0):
        rare = row_sums_to_one(sp.csr_array(matrix @ sp.diags_array(popularity**-power)))
        yield f"local_weight 1.0, items by popularity^-{power}", (rare @ items, items)
    heard = row_sums_to_one(sp.csr_array(matrix.T))
    step = heard @ local
    yield "local_weight 1.0, one step over the graph", (means @ (items + step), items + step)
    spread = items.std(axis=0)
    yield "local_weight 1.0, whitened", (local / spread, items / spread)
    lengths = np.linalg.norm(items, axis=1, keepdims=True)
    unit = items / np.where(lengths > 0, lengths, 1)
    yield "local_weight 1.0, unit rows", (means @ unit, unit)
    for modality, table in dataset.features.items():
        if len(dataset.features) > 1:
            joint = hybrid(local_weight=1.0).fit(matrix, {modality: table}).start_.joint(WIDTH)
            yield f"local_weight 1.0, {modality} alone", (joint.users, joint.items)


def judge(dataset: Dataset, split: str, pair: Pair) -> Iterator[dict[str, object]]:
    """Score all users and each group by training interactions."""
    ranking = FullRanking(dataset, split)
    users, items = (torch.from_numpy(np.asarray(side, dtype=np.float32)) for side in pair)
    found = ranking.evaluate(lambda chosen: users[chosen] @ items.T)
    degrees = np.bincount(dataset.train.users, minlength=dataset.n_users)[ranking.users]
    groups = {"all": np.ones(len(degrees), dtype=bool)}
    for low, high in zip(BANDS, (*BANDS[1:], None), strict=True):
        inside = (degrees >= low) & (degrees < (high or np.inf))
        groups[f"{low}-{high - 1}" if high else f"{low}-"] = inside
    for group, chosen in groups.items():
        if chosen.any():
            scores = {name: float(found[name][chosen].mean()) for name in ("recall@20", "ndcg@20")}
            yield {"split": split, "group": group, "users": int(chosen.sum()), **scores}


def main() -> None:
    """Score every variant on every data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    rows = []
    for path in parser.parse_args().data:
        dataset = load_dataset(path)
        for name, pair in variants(dataset):
            splits = ("valid", "test") if name in READ_ON_TEST else ("valid",)
            for split in splits:
                found = list(judge(dataset, split, pair))
                recall = found[0]["recall@20"]
                print(f"{dataset.name:10} {name:36} {split:5} {recall:.4f}", flush=True)
                rows += [{"data": dataset.name, "variant": name, **row} for row in found]
    OUT.parent.mkdir(exist_ok=True)
    pl.DataFrame(rows).write_csv(OUT)


if __name__ == "__main__":
    main()
