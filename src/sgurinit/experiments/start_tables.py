"""What every arm's start is like before anything is trained: how far users are from items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from sklearn.decomposition import PCA

from sgurinit.arms import BASELINE, Initializer, SGURInitInitializer
from sgurinit.core import UserStart
from sgurinit.core.inputs.features import Float32Array, row_norms
from sgurinit.core.semantic_gap import gap, pair_cosines
from sgurinit.data import Dataset, item_titles
from sgurinit.experiments.run import EventCallback, RunEvent, no_event
from sgurinit.files import write_table
from sgurinit.seeds import generator

TABLES = ("gap", "cosines", "points", "clusters", "nearest")
WIDTH = 64  # of the joint space, the literature's for user tables
POINTS = 300  # users and as many items in a projection
CENTRAL = 5  # items named per cluster
EXAMPLES = 5  # users whose nearest items are named
EDGES = np.linspace(-1, 1, 41)  # bins of cosines
SEED = 0


@dataclass(frozen=True, eq=False)
class _Space:
    """Users and items of one arm in one space, and true interactions with these items."""

    users: Float32Array
    items: Float32Array
    positions: np.ndarray[Any, np.dtype[np.int64]]
    matrix: sp.csr_array


def write_starts(
    arms: Mapping[str, Initializer],
    dataset: Dataset,
    source: str | Path | None,
    folder: Path,
    on_event: EventCallback = no_event,
) -> None:
    """Describe the starts of a comparison's arms in four tables.

    Each arm that computes a start is shown in the joint space of width 64 that it hands to a free
    user table, with the items there; ``random`` with normal users among the items of the first such
    arm. An arm is judged by the true interactions, whatever it was computed from. Where no arm
    computes a start, nothing is written.

    Parameters
    ----------
    arms
        Initializer by the arm's name.
    dataset, source
        The data, and the path or name that they were loaded by.
    folder
        Made if absent. ``gap.csv``: arm, measure, value (see `Gap`). ``cosines.csv``: arm, pairs
        (own, random), low, high, share: how the cosines of sampled user-item pairs spread.
        ``points.csv``: arm, kind (user, item), id, x, y: a sample in the plane of the two leading
        directions of its unit rows. ``clusters.csv``: arm, space (joint or a modality), cluster,
        size, rank, item, title: the items nearest to each centroid, of the first arm.
        ``nearest.csv``: arm, user, kind (own, nearest), rank, item, title: some users' items, and
        the unused items nearest to them in the joint space, of the first arm.
    on_event
        Called with the arm that is described.
    """
    matrix = dataset.train_matrix()
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}

    def describe(arm: str, space: _Space) -> None:
        rows["gap"] += _gap(arm, space)
        rows["cosines"] += _cosines(arm, space)
        rows["points"] += _points(arm, space, dataset)

    for name, arm in arms.items():  # one start at a time in memory
        if not isinstance(arm, SGURInitInitializer):
            continue
        on_event(RunEvent("", "step", step=f"describing {name}"))
        start = arm.compute_start(dataset, SEED)
        space = _joint(start, matrix)
        if not rows["clusters"]:
            titles = item_titles(source)
            rows["clusters"] += _clusters(name, start, dataset, titles)
            rows["nearest"] += _nearest(name, space, dataset, titles)
            if BASELINE in arms:
                describe(BASELINE, _random(space))
        describe(name, space)
    if not rows["gap"]:
        return
    folder.mkdir(exist_ok=True)
    for table, own in rows.items():
        write_table(folder / f"{table}.csv", pl.DataFrame(own, infer_schema_length=None))


def _joint(start: UserStart, matrix: sp.csr_array) -> _Space:
    joint = start.joint(WIDTH)
    positions = np.flatnonzero(joint.clusters.labels >= 0)
    return _Space(joint.users, joint.items[positions], positions, matrix[:, positions])


def _random(like: _Space) -> _Space:
    """Normal users of the same mean norm among the same items."""
    users = generator(SEED, "random users").standard_normal(like.users.shape)
    users *= row_norms(like.users).mean() / row_norms(users).mean()
    return _Space(users.astype(np.float32), like.items, like.positions, like.matrix)


def _gap(arm: str, space: _Space) -> Iterator[dict[str, Any]]:
    for measure, value in asdict(gap(space.matrix, space.items, space.users, SEED)).items():
        yield {"arm": arm, "measure": measure, "value": value}


def _cosines(arm: str, space: _Space) -> Iterator[dict[str, Any]]:
    found = pair_cosines(space.matrix, space.items, space.users, SEED)
    for pairs, cosines in zip(("own", "random"), found, strict=True):
        counts, _ = np.histogram(np.clip(cosines, -1, 1), EDGES)  # rounding can pass the ends
        for low, high, count in zip(EDGES[:-1], EDGES[1:], counts, strict=True):
            share = float(count / len(cosines))
            yield {"arm": arm, "pairs": pairs, "low": low, "high": high, "share": share}


def _points(arm: str, space: _Space, dataset: Dataset) -> Iterator[dict[str, Any]]:
    # The same users and items in every arm.
    some = generator(SEED, "points")
    users = some.permutation(len(space.users))[:POINTS]
    items = some.permutation(len(space.items))[:POINTS]
    rows = np.vstack([space.users[users], space.items[items]]).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    plane = PCA(2, svd_solver="full").fit_transform(rows / np.where(norms > 0, norms, 1))
    ids = [*dataset.user_ids[users], *dataset.item_ids[space.positions[items]]]
    kinds = ["user"] * len(users) + ["item"] * len(items)
    for kind, name, (x, y) in zip(kinds, ids, plane, strict=True):
        yield {"arm": arm, "kind": kind, "id": str(name), "x": x, "y": y}


def _clusters(
    arm: str, start: UserStart, dataset: Dataset, titles: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    assert start.source is not None  # noqa: S101 - computed, not loaded
    spaces = {"joint": start.source.joint_space(WIDTH)[1], **start.source.spaces}
    for name, space in spaces.items():
        positions = np.flatnonzero(space.present)
        for cluster, centroid in enumerate(space.items.centroids):
            members = np.flatnonzero(space.items.labels == cluster)
            distances = np.linalg.norm(space.items.rows[members] - centroid, axis=1)
            nearest = members[np.argsort(distances, kind="stable")[:CENTRAL]]
            for rank, position in enumerate(positions[nearest], start=1):
                item = str(dataset.item_ids[position])
                yield {
                    "arm": arm,
                    "space": name,
                    "cluster": cluster,
                    "size": len(members),
                    "rank": rank,
                    "item": item,
                    "title": titles.get(item),
                }


def _nearest(
    arm: str, space: _Space, dataset: Dataset, titles: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Items of some users with at least a few, and unseen items of the largest cosines."""
    enough = np.flatnonzero(np.diff(space.matrix.indptr) >= CENTRAL - 2)
    items = space.items / np.maximum(row_norms(space.items)[:, None], np.finfo(np.float32).tiny)
    for user in generator(SEED, "examples").permutation(enough)[:EXAMPLES]:
        own = space.matrix.indices[space.matrix.indptr[user] : space.matrix.indptr[user + 1]]
        scores = items @ space.users[user]
        scores[own] = -np.inf
        near = np.argsort(-scores, kind="stable")[: min(CENTRAL, len(scores) - len(own))]
        for kind, found in (("own", own[:CENTRAL]), ("nearest", near)):
            for rank, position in enumerate(space.positions[found], start=1):
                item = str(dataset.item_ids[position])
                yield {
                    "arm": arm,
                    "user": str(dataset.user_ids[user]),
                    "kind": kind,
                    "rank": rank,
                    "item": item,
                    "title": titles.get(item),
                }
