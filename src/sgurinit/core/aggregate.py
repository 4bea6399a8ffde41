"""Local sums, cluster histograms and their mix, in blocks of users (steps 1, 3 and 4 of METHOD)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs

from sgurinit.core.features import Float32Array, Float64Array, FloatArray
from sgurinit.core.kmeans import LabelArray

# Bytes that weighted item columns may take at a time, and users' rows of one block, both float64.
COLUMN_BYTES = 1 << 29
BLOCK_BYTES = 1 << 21
# Where the features are in memory the columns taken at a time are as many as caches hold, but not
# so few that going through the interactions again costs more than it saves.
CACHE_BYTES = 1 << 23
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


def histogram(matrix: sp.csr_array, labels: LabelArray, n_clusters: int) -> Float64Array:
    """Count each user's items per cluster, ``R Z`` of METHOD's step 3, in O(|E|).

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
    ndarray of float64, shape (n_users, K)
    """
    n_users = int(matrix.shape[0])
    users = np.repeat(np.arange(n_users), np.diff(matrix.indptr))
    cells = users * n_clusters + labels[matrix.indices]
    counts = np.bincount(cells, minlength=n_users * n_clusters)
    return counts.reshape(n_users, n_clusters).astype(np.float64)


class Aggregator:
    """Turns interactions into rows ``mix * local + (1 - mix) * global`` (steps 1, 3, 4).

    What depends on the items alone is computed once; sums are in float64. A part whose weight is
    zero is not computed. May be used by several threads at a time.

    Parameters
    ----------
    items : ItemSide
        Features, clusters and weights of the items of one space.
    mix : float in [0, 1]
        Weight lambda of the local part.
    local_norm : {"sym", "mean"}
        User weight in the local part: ``|N(u)|^-1/2`` or ``|N(u)|^-1``.
    columns : slice, optional
        Columns to compute; all by default.
    """

    def __init__(
        self, items: ItemSide, *, mix: float, local_norm: str, columns: slice = slice(None)
    ) -> None:
        self._labels = items.labels
        self._n_clusters = len(items.centroids)
        self._power = -0.5 if local_norm == "sym" else -1.0
        self._centroids = (1.0 - mix) * items.centroids[:, columns] if mix < 1 else None
        self._fallback = items.fallback[columns]
        self._weighted: Float64Array | None = None
        if mix > 0:
            self._weighted = np.array(items.rows[:, columns], dtype=np.float64, order="C")
            self._weighted *= mix * items.weights[:, None]

    def user_blocks(self, n_users: int, block_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
        """Yield ranges of users whose rows fit into a core's cache."""
        step = max(1, block_bytes // (8 * len(self._fallback)))
        for first in range(0, n_users, step):
            yield slice(first, first + step)

    def __call__(self, matrix: sp.csr_array) -> Float64Array:
        """Rows of users, shape (n_users, n_columns).

        Parameters
        ----------
        matrix : csr_array of shape (n_users, n_present)
            Binary interactions with the items of the space.
        """
        degrees = user_degrees(matrix)
        shown = np.maximum(degrees, 1.0)
        rows = np.zeros((len(degrees), len(self._fallback)))
        if self._weighted is not None:
            weights = np.repeat(shown**self._power, np.diff(matrix.indptr))
            local = sp.csr_array((weights, matrix.indices, matrix.indptr), shape=matrix.shape)
            rows = np.asarray(local @ self._weighted)
        if self._centroids is not None:
            shares = histogram(matrix, self._labels, self._n_clusters) / shown[:, None]
            rows += shares @ self._centroids
        rows[degrees == 0] = self._fallback
        return rows


def user_rows(
    matrix: sp.csr_array,
    items: ItemSide,
    *,
    mix: float,
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
    items, mix, local_norm
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
        column_bytes = max(CACHE_BYTES, 8 * n_items * CACHE_COLUMNS)
    out = np.empty((n_users, width), dtype=np.float32)
    with ThreadPoolExecutor(effective_n_jobs(n_jobs)) as threads:
        for columns in column_blocks(items.rows, column_bytes):
            aggregate = Aggregator(items, mix=mix, local_norm=local_norm, columns=columns)

            def fill(users: slice, aggregate: Aggregator = aggregate, at: slice = columns) -> None:
                out[users, at] = aggregate(matrix[users])

            list(threads.map(fill, aggregate.user_blocks(n_users, block_bytes)))
    return out


def column_blocks(rows: FloatArray, column_bytes: int = COLUMN_BYTES) -> Iterator[slice]:
    """Yield ranges of columns of item rows that are held in float64 at a time."""
    step = max(1, column_bytes // (8 * max(1, rows.shape[0])))
    for first in range(0, rows.shape[1], step):
        yield slice(first, min(first + step, rows.shape[1]))
