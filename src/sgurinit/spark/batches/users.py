"""Users' rows from sums over their items, in Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sgurinit.spark.batches.columns import (
    Array,
    ArrowBatch,
    group_ids,
    make_batch,
    make_lists,
    pack,
    sum_groups,
    unpack,
)
from sgurinit.spark.batches.sums import merge_sums


@dataclass(frozen=True)
class UserFormula:
    """Formula of the users' rows in one space, from sums over their items.

    Parameters
    ----------
    centroids : ndarray of float64, shape (K, d)
        Centroids C.
    fallback : ndarray of float64, shape (d,)
        Row of a user without any item in this space.
    local_weight : float in [0, 1]
        Weight w of the local part.
    power : float
        Power of the user's degree in the local part, -1/2 or -1.
    """

    centroids: Array
    fallback: Array
    local_weight: float
    power: float

    @property
    def n_sums(self) -> int:
        """Sums per user: item count, items per cluster and, if it has a weight, the local sum."""
        n_clusters, width = self.centroids.shape
        return int(1 + n_clusters + (width if self.local_weight > 0 else 0))

    def sum_users(self, batch: ArrowBatch, number: int, users: Array, n_users: int) -> Array:
        """Compute the sums of each user over the rows of a batch, shape (n_users, n_sums).

        Clusters are in the column ``z<number>`` and vectors in ``v<number>``; `users` holds each
        row's user.
        """
        totals = np.zeros((n_users, self.n_sums))
        clusters = batch[f"z{number}"]
        present = np.asarray(clusters.is_valid())
        labels, users = clusters.drop_null().to_numpy(), users[present]
        n_clusters = len(self.centroids)
        cells = np.bincount(users * n_clusters + labels, minlength=n_users * n_clusters)
        totals[:, 1 : 1 + n_clusters] = cells.reshape(n_users, n_clusters)
        totals[:, 0] = totals[:, 1 : 1 + n_clusters].sum(axis=1)
        if self.local_weight > 0 and len(users):
            rows, _ = unpack(batch[f"v{number}"], "float32")
            totals[:, 1 + n_clusters :] = sum_groups(users, n_users, rows)
        return totals

    def compute_rows(self, sums: Array) -> Array:
        """Compute the rows of users, shape (n, d), from their sums, shape (n, n_sums)."""
        n_clusters = len(self.centroids)
        degrees = np.maximum(sums[:, :1], 1.0)
        rows = (1.0 - self.local_weight) / degrees * sums[:, 1 : 1 + n_clusters] @ self.centroids
        if self.local_weight > 0:
            rows += self.local_weight * degrees**self.power * sums[:, 1 + n_clusters :]
        rows[sums[:, 0] == 0] = self.fallback
        return np.asarray(rows)


def sum_users(
    batches: Iterable[ArrowBatch], *, formulas: Mapping[str, UserFormula]
) -> Iterator[ArrowBatch]:
    """Sum over the items of each user of a batch, all spaces side by side.

    A user whose items are in several batches gets several rows of sums.
    """
    for batch in batches:
        if not batch.num_rows:
            continue
        users, groups = group_ids(batch["user"])
        sums = [
            formula.sum_users(batch, number, groups, len(users))
            for number, formula in enumerate(formulas.values())
        ]
        yield make_batch(user=users, sums=pack(np.hstack(sums)))


def compute_users_from_sums(
    batches: Iterable[ArrowBatch], *, formulas: Mapping[str, UserFormula]
) -> Iterator[ArrowBatch]:
    """Compute the rows of users from what `sum_users` gives, sorted by user."""
    ends = np.cumsum([formula.n_sums for formula in formulas.values()])[:-1]
    for batch in merge_sums(batches, key="user"):
        sums = np.hsplit(unpack(batch["sums"], "float64")[0], ends)
        columns = {"user": batch["user"]}
        for (name, formula), part in zip(formulas.items(), sums, strict=True):
            columns[name] = make_lists(formula.compute_rows(part).astype(np.float32))
        yield make_batch(**columns)


def compute_users(
    batches: Iterable[ArrowBatch], *, formulas: Mapping[str, UserFormula]
) -> Iterator[ArrowBatch]:
    """Compute the rows of users from their items, sorted by user."""
    return compute_users_from_sums(sum_users(batches, formulas=formulas), formulas=formulas)


def compute_users_in_order(
    batches: Iterable[ArrowBatch], *, formulas: Mapping[str, UserFormula]
) -> Iterator[ArrowBatch]:
    """Compute the rows of users like `compute_users`, and check that a join kept the order."""
    return compute_users(_check_order(batches), formulas=formulas)


def _check_order(batches: Iterable[ArrowBatch]) -> Iterator[ArrowBatch]:
    """Check that rows are in the order of the numbers that they got after the sort by user."""
    last = -1
    for batch in batches:
        numbers = batch["row"].to_numpy()
        if len(numbers) and (numbers[0] <= last or (np.diff(numbers) < 0).any()):
            raise RuntimeError("Spark changed the order of sorted interactions in a join")
        last = numbers[-1] if len(numbers) else last
        yield batch
