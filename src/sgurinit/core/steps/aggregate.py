"""Aggregation of users: local sums and cluster histograms, in blocks of users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from sgurinit.core._parallel import thread_map
from sgurinit.core.inputs.arrays import Float32Array, Float64Array, FloatArray, IntArray, LabelArray
from sgurinit.core.steps.processor import NUMPY, Own, Processor

# Terms of a user's sum that are added up in float32.
_RUN = 32
# Bytes of a block of item columns in float32.
_COLUMN_BYTES = 1 << 29
# Bytes of a block of users' rows in float32.
_BLOCK_BYTES = 1 << 21
# For features in memory, a block of columns takes what a cache holds, but at least so many columns:
# with fewer, repeated passes over the interactions would cost more than the cache saves.
_CACHE_BYTES = 1 << 22
_CACHE_COLUMNS = 64


@dataclass(frozen=True, eq=False)
class ItemSide:
    """Items of one space as the aggregation needs them; only items that have a row.

    Parameters
    ----------
    rows : ndarray of shape (n_present, d)
        Item rows F.
    labels : ndarray of int32, shape (n_present,)
        Cluster of each item.
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


def count_item_degrees(matrix: sp.csr_array) -> Float64Array:
    """Count the users of each item, shape (n_items,)."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)


def count_user_degrees(matrix: sp.csr_array) -> Float64Array:
    """Count the items of each user, shape (n_users,)."""
    return np.diff(matrix.indptr).astype(np.float64)


def compute_item_weights(degrees: Float64Array, local_norm: str) -> Float64Array:
    """Compute each item's weight in the local sum: ``|N(i)|^-1/2`` for "sym", 1 for "mean".

    An item without training interactions counts as used once. Only new users can have it.
    """
    if local_norm == "mean":
        return np.ones_like(degrees)
    weights: Float64Array = 1.0 / np.sqrt(np.maximum(degrees, 1.0))
    return weights


def compute_fallback(
    degrees: Float64Array, labels: LabelArray, centroids: Float64Array
) -> Float64Array:
    """Compute the row of a user without any item in the space, shape (d,).

    It is the mean of the centroids weighted by the interactions on each cluster's items.
    """
    counts = np.bincount(labels, weights=degrees, minlength=len(centroids))
    fallback: Float64Array = (counts / counts.sum()) @ centroids
    return fallback


def count_clusters(matrix: sp.csr_array, labels: LabelArray, n_clusters: int) -> sp.csr_array:
    """Count each user's items per cluster, ``R Z``, in time linear in the interactions.

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
class UserWeights:
    """Weights of users over the rows of a table, divided into runs.

    A run is up to `_RUN` weights of one user. Each run is added up in float32 and the runs of a
    user in float64. The error therefore does not grow with the number of weights, and the sum takes
    two thirds of the time of float64 throughout.

    Parameters
    ----------
    runs : csr_array of float32, shape (n_runs, n_rows)
        One row per run; the runs of a user follow each other.
    first : ndarray of int64, shape (n_users,)
        First run of every user.
    longer : ndarray of int64
        Users with more than one run.
    membership : csr_array of float64, shape (len(longer), n_runs)
        1 where a run belongs to one of these users.
    """

    runs: sp.csr_array
    first: IntArray
    longer: IntArray
    membership: sp.csr_array

    @classmethod
    def from_matrix(cls, weights: sp.csr_array) -> UserWeights:
        """Divide the rows of a matrix of shape (n_users, n_rows) into runs."""
        pieces = np.maximum(1, -(-np.diff(weights.indptr) // _RUN))
        bounds = np.append(0, np.cumsum(pieces))
        first, n_runs = bounds[:-1], int(bounds[-1])
        starts = np.repeat(weights.indptr[:-1] - _RUN * first, pieces) + _RUN * np.arange(n_runs)
        pointers = np.append(starts, weights.nnz)
        runs = sp.csr_array(
            (weights.data.astype(np.float32), weights.indices, pointers),
            shape=(n_runs, int(weights.shape[1])),
        )
        membership = sp.csr_array(
            (np.ones(n_runs), np.arange(n_runs), bounds), shape=(len(first), n_runs)
        )
        longer = np.flatnonzero(pieces > 1)
        return cls(runs, first, longer, sp.csr_array(membership[longer]))

    def multiply(self, table: Own, processor: Processor = NUMPY) -> Float32Array:
        """Compute the users' rows from a table of the processor's, shape (n_users, n_columns)."""
        sums = processor.put_sparse(self.runs) @ table
        rows = sums
        if len(self.longer):
            rows = sums[processor.put(self.first)]
            totals = processor.put_sparse(self.membership) @ sums
            rows[processor.put(self.longer)] = processor.xp.asarray(totals, dtype=rows.dtype)
        found: Float32Array = processor.get(rows)
        return found


class Aggregator:
    """Turns interactions into users' rows ``w * local + (1 - w) * global``.

    Both parts are linear. A user is therefore a sparse row of weights times one table, which holds
    the items, the centroids, and the row for users without an item. A part with weight zero is left
    out. Several threads may use an aggregator at the same time.

    Parameters
    ----------
    items : ItemSide
        Features, clusters and weights of the items of one space.
    local_weight : float in [0, 1]
        Weight w of the local part.
    local_norm : {"sym", "mean"}
        Weight of a user in the local part: ``|N(u)|^-1/2`` for "sym", ``|N(u)|^-1`` for "mean".
    """

    def __init__(self, items: ItemSide, *, local_weight: float, local_norm: str) -> None:
        self._items = items
        self._local_weight = local_weight
        self._power = -0.5 if local_norm == "sym" else -1.0

    def compute_weights(self, matrix: sp.csr_array) -> UserWeights:
        """Compute the weights of users over the rows of `make_table`.

        Parameters
        ----------
        matrix : csr_array of shape (n_users, n_present)
            Binary interactions with the items of the space.
        """
        counts = np.diff(matrix.indptr)
        degrees = np.maximum(counts, 1.0)
        parts = [sp.csr_array((counts == 0).astype(np.float64)[:, None])]
        if self._local_weight < 1:
            shares = count_clusters(matrix, self._items.labels, len(self._items.centroids))
            shares.data *= np.repeat((1.0 - self._local_weight) / degrees, np.diff(shares.indptr))
            parts.insert(0, shares)
        if self._local_weight > 0:
            local = np.repeat(self._local_weight * degrees**self._power, counts)
            local *= self._items.weights[matrix.indices]
            own = (local, matrix.indices, matrix.indptr)
            parts.insert(0, sp.csr_array(own, shape=matrix.shape))
        return UserWeights.from_matrix(sp.csr_array(sp.hstack(parts, format="csr")))

    def make_table(self, columns: slice) -> Float32Array:
        """Stack some columns of items, centroids and fallback row, shape (n_rows, n_columns)."""
        items = self._items
        parts: list[FloatArray] = [items.fallback[None, columns]]
        if self._local_weight < 1:
            parts.insert(0, items.centroids[:, columns])
        if self._local_weight > 0:
            parts.insert(0, items.rows[:, columns])
        return np.concatenate(parts, dtype=np.float32, casting="same_kind")


def aggregate_users(
    matrix: sp.csr_array,
    items: ItemSide,
    *,
    local_weight: float,
    local_norm: str,
    n_jobs: int | None = None,
    column_bytes: int | None = None,
    block_bytes: int = _BLOCK_BYTES,
    processor: Processor = NUMPY,
) -> Float32Array:
    """Compute the users' rows in one space, in blocks of columns and users, see `Aggregator`.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_present)
        Binary interactions with the items that have a row.
    items, local_weight, local_norm
        See `Aggregator`.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.
    column_bytes, block_bytes : int, optional
        Sizes of the blocks, for NumPy. The result does not depend on them.
    processor : Processor
        What computes.

    Returns
    -------
    ndarray of float32, shape (n_users, d)
    """
    n_users, (n_items, width) = int(matrix.shape[0]), items.rows.shape
    if column_bytes is None:
        column_bytes = max(_CACHE_BYTES, 4 * n_items * _CACHE_COLUMNS)
    column_bytes = processor.choose_table_bytes(column_bytes)
    block_bytes = processor.choose_block_bytes(block_bytes)
    out = np.empty((n_users, width), dtype=np.float32)
    aggregator = Aggregator(items, local_weight=local_weight, local_norm=local_norm)
    blocks = split_columns(items.rows, column_bytes)
    with thread_map(processor.count_threads(n_jobs)) as each:
        users = list(split_users(n_users, blocks[0].stop, block_bytes))
        weights = list(each(lambda some: aggregator.compute_weights(matrix[some]), users))
        for columns in blocks:
            table = processor.put(aggregator.make_table(columns))

            def fill(number: int, table: Own = table, at: slice = columns) -> None:
                out[users[number], at] = weights[number].multiply(table, processor)

            list(each(fill, range(len(users))))
    return out


def split_users(n_users: int, width: int, block_bytes: int = _BLOCK_BYTES) -> list[slice]:
    """Split users into ranges whose rows of `width` float32 numbers fit into a core's cache."""
    step = max(1, block_bytes // (4 * width))
    return [slice(first, first + step) for first in range(0, n_users, step)]


def split_columns(rows: FloatArray, column_bytes: int = _COLUMN_BYTES) -> list[slice]:
    """Split the columns of item rows into ranges that take `column_bytes` in float32."""
    step = max(1, column_bytes // (4 * max(1, rows.shape[0])))
    width = int(rows.shape[1])
    return [slice(first, min(first + step, width)) for first in range(0, width, step)]
