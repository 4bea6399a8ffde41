"""Local sums, cluster histograms and their weighted mean, in blocks of users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from sgurinit.core._parallel import mapping
from sgurinit.core.inputs.arrays import Float32Array, Float64Array, FloatArray, IntArray, LabelArray

# Weights of a user that are added up in float32.
RUN = 32
# Bytes that item columns may take at a time, and users' rows of one block, both float32.
COLUMN_BYTES = 1 << 29
BLOCK_BYTES = 1 << 21
# Where the features are in memory the columns taken at a time are as many as caches hold, but not
# so few that going through the interactions again costs more than it saves.
CACHE_BYTES = 1 << 22
CACHE_COLUMNS = 64


@dataclass(frozen=True, eq=False)
class ItemSide:
    """What the items of one space bring to the aggregation; only items that have a row.

    Parameters
    ----------
    rows : ndarray of shape (n_present, d)
        Features F.
    labels : ndarray of int32, shape (n_present,)
        Cluster of each item, z.
    centroids : ndarray of float64, shape (K, d)
        Centroids C.
    weights : ndarray of float64, shape (n_present,)
        Weight of each item in the local sum, ``1 / sqrt(|N(i)|)`` or 1.
    fallback : ndarray of float64, shape (d,)
        Row of a user without any item in this space.
    """

    rows: FloatArray
    labels: LabelArray
    centroids: Float64Array
    weights: Float64Array
    fallback: Float64Array


def item_degrees(matrix: sp.csr_array) -> Float64Array:
    """Count the users of each item, shape (n_items,)."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)


def user_degrees(matrix: sp.csr_array) -> Float64Array:
    """Count the items of each user, shape (n_users,)."""
    return np.diff(matrix.indptr).astype(np.float64)


def item_weights(degrees: Float64Array, local_norm: str) -> Float64Array:
    """Weight of each item in the local sum: ``|N(i)|^-1/2`` for "sym", 1 for "mean".

    An item that nobody used in training counts as used once: only a new user can have it.
    """
    if local_norm == "mean":
        return np.ones_like(degrees)
    weights: Float64Array = 1.0 / np.sqrt(np.maximum(degrees, 1.0))
    return weights


def popular_centroid(
    degrees: Float64Array, labels: LabelArray, centroids: Float64Array
) -> Float64Array:
    """Mean of the centroids weighted by the interactions on each cluster's items, shape (d,)."""
    counts = np.bincount(labels, weights=degrees, minlength=len(centroids))
    fallback: Float64Array = (counts / counts.sum()) @ centroids
    return fallback


def histogram(matrix: sp.csr_array, labels: LabelArray, n_clusters: int) -> sp.csr_array:
    """Count each user's items per cluster, ``R Z``, in O(|E|).

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
        Binary interactions.
    labels : ndarray of int, shape (n_items,)
        Cluster of each item.
    n_clusters : int
        K.

    Returns
    -------
    csr_array of float64, shape (n_users, K)
    """
    n_items = len(labels)
    belongs = (np.ones(n_items), labels, np.arange(n_items + 1))
    counts = matrix @ sp.csr_array(belongs, shape=(n_items, n_clusters))
    return sp.csr_array(counts)


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of users over the rows of a table, in runs of at most `RUN` of a user's.

    Runs are added up in float32, a user's runs in float64, so that the error does not grow with
    their number, in two thirds of the time of float64 throughout.

    Parameters
    ----------
    runs : csr_array of float32, shape (n_runs, n_rows)
        A row per run, a user's one behind the other.
    first : ndarray of int64, shape (n_users,)
        First run of every user.
    longer : ndarray of int64
        Users of more than one run.
    belongs : csr_array of float64, shape (len(longer), n_runs)
        Runs of these.
    """

    runs: sp.csr_array
    first: IntArray
    longer: IntArray
    belongs: sp.csr_array

    @classmethod
    def of(cls, weights: sp.csr_array) -> Weights:
        """Divide the rows of a matrix into runs."""
        pieces = np.maximum(1, -(-np.diff(weights.indptr) // RUN))
        bounds = np.append(0, np.cumsum(pieces))
        first, n_runs = bounds[:-1], int(bounds[-1])
        starts = np.repeat(weights.indptr[:-1] - RUN * first, pieces) + RUN * np.arange(n_runs)
        pointers = np.append(starts, weights.nnz)
        runs = sp.csr_array(
            (weights.data.astype(np.float32), weights.indices, pointers),
            shape=(n_runs, int(weights.shape[1])),
        )
        belongs = sp.csr_array(
            (np.ones(n_runs), np.arange(n_runs), bounds), shape=(len(first), n_runs)
        )
        longer = np.flatnonzero(pieces > 1)
        return cls(runs, first, longer, sp.csr_array(belongs[longer]))

    def of_table(self, table: Float32Array) -> Float32Array:
        """Users' rows, shape (n_users, n_columns)."""
        sums: Float32Array = self.runs @ table
        if not len(self.longer):
            return sums
        rows = sums[self.first]
        rows[self.longer] = self.belongs @ sums
        return rows


class Aggregator:
    """Turns interactions into rows ``w * local + (1 - w) * global``.

    Both parts are linear, so a user is one sparse row of weights, over the items, the clusters and
    the row for users without an item, times the table of all of these. A part whose weight is zero
    is not computed. May be used by several threads at a time.

    Parameters
    ----------
    items : ItemSide
        Features, clusters and weights of the items of one space.
    local_weight : float in [0, 1]
        Weight lambda of the local part.
    local_norm : {"sym", "mean"}
        User weight in the local part: ``|N(u)|^-1/2`` or ``|N(u)|^-1``.
    """

    def __init__(self, items: ItemSide, *, local_weight: float, local_norm: str) -> None:
        self._items = items
        self._mix = local_weight
        self._power = -0.5 if local_norm == "sym" else -1.0

    def weights(self, matrix: sp.csr_array) -> Weights:
        """Weights of users over the rows of `table`.

        Parameters
        ----------
        matrix : csr_array of shape (n_users, n_present)
            Binary interactions with the items of the space.
        """
        counts = np.diff(matrix.indptr)
        degrees = np.maximum(counts, 1.0)
        parts = [sp.csr_array((counts == 0).astype(np.float64)[:, None])]
        if self._mix < 1:
            shares = histogram(matrix, self._items.labels, len(self._items.centroids))
            shares.data *= np.repeat((1.0 - self._mix) / degrees, np.diff(shares.indptr))
            parts.insert(0, shares)
        if self._mix > 0:
            local = np.repeat(self._mix * degrees**self._power, counts)
            local *= self._items.weights[matrix.indices]
            own = (local, matrix.indices, matrix.indptr)
            parts.insert(0, sp.csr_array(own, shape=matrix.shape))
        return Weights.of(sp.csr_array(sp.hstack(parts, format="csr")))

    def table(self, columns: slice) -> Float32Array:
        """Items, centroids and the row of users without an item, shape (n_rows, n_columns)."""
        items = self._items
        parts: list[FloatArray] = [items.fallback[None, columns]]
        if self._mix < 1:
            parts.insert(0, items.centroids[:, columns])
        if self._mix > 0:
            parts.insert(0, items.rows[:, columns])
        return np.concatenate(parts, dtype=np.float32, casting="same_kind")


def user_rows(
    matrix: sp.csr_array,
    items: ItemSide,
    *,
    local_weight: float,
    local_norm: str,
    n_jobs: int | None = None,
    column_bytes: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Float32Array:
    """Users' rows in one space, in blocks of columns and users; see `Aggregator`.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_present)
        Binary interactions with the items that have a row.
    items, local_weight, local_norm
        See `Aggregator`.
    n_jobs : int, optional
        Blocks of users at a time, as in scikit-learn: None is 1, -1 all cores.
    column_bytes, block_bytes : int
        Size of the blocks; the result does not depend on it, nor on `n_jobs`.

    Returns
    -------
    ndarray of float32, shape (n_users, d)
    """
    n_users, (n_items, width) = int(matrix.shape[0]), items.rows.shape
    if column_bytes is None:
        column_bytes = max(CACHE_BYTES, 4 * n_items * CACHE_COLUMNS)
    out = np.empty((n_users, width), dtype=np.float32)
    aggregator = Aggregator(items, local_weight=local_weight, local_norm=local_norm)
    blocks = column_blocks(items.rows, column_bytes)
    with mapping(n_jobs) as each:
        users = list(user_blocks(n_users, blocks[0].stop, block_bytes))
        weights = list(each(lambda some: aggregator.weights(matrix[some]), users))
        for columns in blocks:
            table = aggregator.table(columns)

            def fill(number: int, table: Float32Array = table, at: slice = columns) -> None:
                out[users[number], at] = weights[number].of_table(table)

            list(each(fill, range(len(users))))
    return out


def user_blocks(n_users: int, width: int, block_bytes: int = BLOCK_BYTES) -> list[slice]:
    """Ranges of users whose rows of `width` float32 numbers fit into a core's cache."""
    step = max(1, block_bytes // (4 * width))
    return [slice(first, first + step) for first in range(0, n_users, step)]


def column_blocks(rows: FloatArray, column_bytes: int = COLUMN_BYTES) -> list[slice]:
    """Ranges of columns of item rows that are held in float32 at a time."""
    step = max(1, column_bytes // (4 * max(1, rows.shape[0])))
    width = int(rows.shape[1])
    return [slice(first, min(first + step, width)) for first in range(0, width, step)]
