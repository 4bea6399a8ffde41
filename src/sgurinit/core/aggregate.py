"""Local sums, cluster histograms and their mix, in blocks of users (steps 1, 3 and 4 of METHOD)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from sgurinit.core.features import Float32Array, Float64Array, FloatArray
from sgurinit.core.kmeans import LabelArray

# Users at a time, and the bytes that item columns held in float64 may take at a time.
BLOCK_USERS = 8192
BLOCK_BYTES = 1 << 28


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


def user_rows(
    matrix: sp.csr_array,
    items: ItemSide,
    *,
    mix: float,
    local_norm: str,
    block_users: int = BLOCK_USERS,
    block_bytes: int = BLOCK_BYTES,
) -> Float32Array:
    """Users' rows ``mix * local + (1 - mix) * global`` in one space (steps 1, 3, 4).

    Sums are in float64 and go over blocks of users and of columns, so that memory beside the
    result stays bounded. A part whose weight is zero is not computed.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_present)
        Binary interactions with the items that have a row.
    items : ItemSide
        Features, clusters and weights of these items.
    mix : float in [0, 1]
        Weight lambda of the local part.
    local_norm : {"sym", "mean"}
        User weight in the local part: ``|N(u)|^-1/2`` or ``|N(u)|^-1``.
    block_users, block_bytes : int
        Size of the blocks; the result does not depend on it.

    Returns
    -------
    ndarray of float32, shape (n_users, d)
    """
    n_users, width = int(matrix.shape[0]), int(items.rows.shape[1])
    out = np.empty((n_users, width), dtype=np.float32)
    for columns in _column_blocks(items.rows, block_bytes):
        weighted = _weighted(items, columns) if mix > 0 else None
        for first in range(0, n_users, block_users):
            users = slice(first, first + block_users)
            part = matrix[users]
            degrees = user_degrees(part)[:, None]
            shown = np.maximum(degrees, 1.0)
            block = np.zeros((part.shape[0], columns.stop - columns.start))
            if weighted is not None:
                block += mix * (part @ weighted) / _user_scale(shown, local_norm)
            if mix < 1:
                shares = histogram(part, items.labels, len(items.centroids)) / shown
                block += (1.0 - mix) * (shares @ items.centroids[:, columns])
            out[users, columns] = np.where(degrees > 0, block, items.fallback[columns])
    return out


def _user_scale(degrees: Float64Array, local_norm: str) -> Float64Array:
    scale: Float64Array = np.sqrt(degrees) if local_norm == "sym" else degrees
    return scale


def _column_blocks(rows: FloatArray, block_bytes: int) -> Iterator[slice]:
    step = max(1, block_bytes // (8 * max(1, rows.shape[0])))
    for first in range(0, rows.shape[1], step):
        yield slice(first, min(first + step, rows.shape[1]))


def _weighted(items: ItemSide, columns: slice) -> Float64Array:
    """Item rows times their weights, for some columns, in float64."""
    values = np.array(items.rows[:, columns], dtype=np.float64, order="C")
    values *= items.weights[:, None]
    return values
