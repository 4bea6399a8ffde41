"""Tables that describe the start of every arm before training."""

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
from sgurinit.core import FittedStart, UserStart
from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.core.inputs.features import row_norms
from sgurinit.core.semantic_gap import compute_gap, compute_pair_cosines
from sgurinit.data import Dataset, item_titles
from sgurinit.experiments.events import EventCallback, RunEvent, no_event
from sgurinit.experiments.semantic_gap import SHOWN_SEED
from sgurinit.files import write_table
from sgurinit.seeds import make_generator

JOINT_WIDTH = 64  # columns of the joint space, the usual width of user tables in the literature
_TABLES = ("gap", "cosines", "points", "clusters", "nearest")
_N_POINTS = 300  # sampled users, and as many items, in a projection
_N_ITEMS = 5  # items listed per cluster and per user
_N_USERS = 5  # example users
_MIN_ITEMS = 3  # training interactions of an example user
_COSINE_EDGES = np.linspace(-1, 1, 41)


@dataclass(frozen=True, eq=False)
class _Space:
    """Users and items of one arm in the joint space, and the training interactions."""

    users: Float32Array
    items: Float32Array
    positions: np.ndarray[Any, np.dtype[np.int64]]
    matrix: sp.csr_array


def write_start_tables(
    arms: Mapping[str, Initializer],
    dataset: Dataset,
    source: str | Path | None,
    folder: Path,
    on_event: EventCallback = no_event,
) -> None:
    """Write five tables that describe the starts of a comparison's arms.

    Each arm that computes a start is described in the joint space of 64 columns, which initializes
    free user tables. ``"random"`` is described as normal users among the items of the first such
    arm. All measures use the true interactions, whatever the start was computed from. If no arm
    computes a start, nothing is written.

    ================ ======================================= =======================================
    file             columns                                 rows
    ================ ======================================= =======================================
    ``gap.csv``      arm, measure, value                     measures of the semantic gap, see `Gap`
    ``cosines.csv``  arm, pairs, low, high, share            histogram of the cosines of users with
                                                             their own and with random items
    ``points.csv``   arm, kind, id, x, y                     sampled users and items, unit length,
                                                             on their two principal components
    ``clusters.csv`` arm, space, cluster, size, rank, item,  items nearest to each centroid, for the
                     title                                   first arm
    ``nearest.csv``  arm, user, kind, rank, item, title      items of some users and the unused
                                                             items nearest to them, for the first
                                                             arm
    ================ ======================================= =======================================

    Parameters
    ----------
    arms : mapping of str to Initializer
        Arms by name.
    dataset : Dataset
        The data.
    source : str, Path or None
        Path or name that the data were loaded from. It may contain titles of the items.
    folder : Path
        Folder to write to, created if missing.
    on_event : callable, default no_event
        Called with each arm that is being described.
    """
    matrix = dataset.train_matrix()
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in _TABLES}

    def describe(arm: str, space: _Space) -> None:
        rows["gap"] += _gap_rows(arm, space)
        rows["cosines"] += _cosine_rows(arm, space)
        rows["points"] += _point_rows(arm, space, dataset)

    for name, arm in arms.items():  # keeps one start in memory at a time
        if not isinstance(arm, SGURInitInitializer):
            continue
        on_event(RunEvent("", "step", step=f"describing {name}"))
        start = arm.compute_start(dataset, SHOWN_SEED)
        space = _joint_space(start, matrix)
        if not rows["clusters"]:
            titles = item_titles(source)
            rows["clusters"] += _cluster_rows(name, start, dataset, titles)
            rows["nearest"] += _nearest_rows(name, space, dataset, titles)
            if BASELINE in arms:
                describe(BASELINE, _random_space(space))
        describe(name, space)
    if not rows["gap"]:
        return
    folder.mkdir(exist_ok=True)
    for table, own in rows.items():
        write_table(folder / f"{table}.csv", pl.DataFrame(own, infer_schema_length=None))


def _joint_space(start: UserStart, matrix: sp.csr_array) -> _Space:
    joint = start.joint(JOINT_WIDTH)
    positions = np.flatnonzero(joint.clusters.labels >= 0)
    return _Space(joint.users, joint.items[positions], positions, matrix[:, positions])


def _random_space(like: _Space) -> _Space:
    """Normally distributed users with the same mean norm, among the same items."""
    users = make_generator(SHOWN_SEED, "random users").standard_normal(like.users.shape)
    users *= row_norms(like.users).mean() / row_norms(users).mean()
    return _Space(users.astype(np.float32), like.items, like.positions, like.matrix)


def _gap_rows(arm: str, space: _Space) -> Iterator[dict[str, Any]]:
    gap = compute_gap(space.matrix, space.items, space.users, SHOWN_SEED)
    for measure, value in asdict(gap).items():
        yield {"arm": arm, "measure": measure, "value": value}


def _cosine_rows(arm: str, space: _Space) -> Iterator[dict[str, Any]]:
    found = compute_pair_cosines(space.matrix, space.items, space.users, SHOWN_SEED)
    for pairs, cosines in zip(("own", "random"), found, strict=True):
        counts, _ = np.histogram(np.clip(cosines, -1, 1), _COSINE_EDGES)  # clipped against rounding
        for low, high, count in zip(_COSINE_EDGES[:-1], _COSINE_EDGES[1:], counts, strict=True):
            share = float(count / len(cosines))
            yield {"arm": arm, "pairs": pairs, "low": low, "high": high, "share": share}


def _point_rows(arm: str, space: _Space, dataset: Dataset) -> Iterator[dict[str, Any]]:
    # Every arm shows the same users and items.
    some = make_generator(SHOWN_SEED, "points")
    users = some.permutation(len(space.users))[:_N_POINTS]
    items = some.permutation(len(space.items))[:_N_POINTS]
    rows = np.vstack([space.users[users], space.items[items]]).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    plane = PCA(2, svd_solver="full").fit_transform(rows / np.where(norms > 0, norms, 1))
    ids = [*dataset.user_ids[users], *dataset.item_ids[space.positions[items]]]
    kinds = ["user"] * len(users) + ["item"] * len(items)
    for kind, name, (x, y) in zip(kinds, ids, plane, strict=True):
        yield {"arm": arm, "kind": kind, "id": str(name), "x": x, "y": y}


def _cluster_rows(
    arm: str, start: UserStart, dataset: Dataset, titles: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    assert isinstance(start, FittedStart)  # noqa: S101 - computed, not loaded
    spaces = {"joint": start.fit.fit_joint_space(JOINT_WIDTH).space, **start.fit.spaces}
    for name, space in spaces.items():
        positions = np.flatnonzero(space.present)
        for cluster, centroid in enumerate(space.items.centroids):
            members = np.flatnonzero(space.items.labels == cluster)
            distances = np.linalg.norm(space.items.rows[members] - centroid, axis=1)
            nearest = members[np.argsort(distances, kind="stable")[:_N_ITEMS]]
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


def _nearest_rows(
    arm: str, space: _Space, dataset: Dataset, titles: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Items of some users with enough interactions, and the unused items nearest to them."""
    enough = np.flatnonzero(np.diff(space.matrix.indptr) >= _MIN_ITEMS)
    items = space.items / np.maximum(row_norms(space.items)[:, None], np.finfo(np.float32).tiny)
    for user in make_generator(SHOWN_SEED, "examples").permutation(enough)[:_N_USERS]:
        own = space.matrix.indices[space.matrix.indptr[user] : space.matrix.indptr[user + 1]]
        scores = items @ space.users[user]
        scores[own] = -np.inf
        near = np.argsort(-scores, kind="stable")[: min(_N_ITEMS, len(scores) - len(own))]
        for kind, found in (("own", own[:_N_ITEMS]), ("nearest", near)):
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
