"""Clusters of the items of one modality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sgurinit.core.inputs.arrays import Float32Array, Float64Array, FloatArray, IntArray, LabelArray
from sgurinit.core.inputs.features import row_blocks, row_slices
from sgurinit.core.steps.kmeans import cluster_means, k_means
from sgurinit.errors import InputError

# Columns that are brought into order at a time.
_COLUMNS = 64

# Largest entries that can be scaled to 1 and back in float32.
_MODERATE = (1e-30, 1e30)


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of the items in one space.

    Parameters
    ----------
    centroids : ndarray of float32, shape (K, d)
        Mean of each cluster's items, summed in float64.
    labels : ndarray of int32, shape (n_items,)
        Cluster of each item; -1 for an item without a row.
    """

    centroids: Float32Array
    labels: LabelArray

    def __repr__(self) -> str:
        return f"Clusters({len(self.centroids)} of {len(self.labels):,} items)"


def cluster_rows(
    rows: FloatArray, n_clusters: int, seed: int, backend: str = "lloyd"
) -> tuple[LabelArray, Float64Array]:
    """Cluster rows with K-means.

    The same rows, in any order, precision or memory layout that holds them exactly, give the same
    clusters: `k_means` sees them centred, in float32 and in an order that depends on their values
    only.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Finite feature rows.
    n_clusters : int
        K, at most the number of distinct rows.
    seed : int
        Seed of K-means.
    backend : {"lloyd", "minibatch", "faiss"}
        See `k_means`.

    Returns
    -------
    labels : ndarray of int32, shape (n,)
        Cluster of each row.
    centroids : ndarray of float64, shape (K, d)
        Exact means of the members.

    Raises
    ------
    InputError
        When there are fewer distinct rows than clusters, the message states both numbers; or the
        back end is not installed.
    """
    points = _normalised(rows)
    order = np.argsort(points.view(f"V{points.shape[1] * 4}").ravel(), kind="stable")
    distinct = _bring_into(points, order)
    if n_clusters > distinct:
        raise InputError(
            f"n_clusters={n_clusters} is more than the {distinct} distinct item rows: "
            f"choose at most {distinct}"
        )
    labels = np.empty(len(order), dtype=np.int32)
    labels[order] = k_means(points, n_clusters, seed, backend)
    return labels, cluster_means(rows, labels, n_clusters)


def _bring_into(points: Float32Array, order: IntArray) -> int:
    """Bring points into order in place, some columns at a time, and count the distinct ones."""
    changes = np.zeros(len(points) - 1, dtype=bool)
    for first in range(0, points.shape[1], _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        part = points[order, columns]
        points[:, columns] = part
        if not changes.all():
            changes |= (part[1:] != part[:-1]).any(axis=1)
    return 1 + int(changes.sum())


def _normalised(rows: FloatArray) -> Float32Array:
    """Rows centred and scaled to at most about 1, in float32; K-means does not mind either."""
    peak, total = 0.0, np.zeros(rows.shape[1])
    for where, block in row_blocks(rows):
        peak = max(peak, float(rows[where].max()), -float(rows[where].min()))
        total += block.sum(axis=0)
    # First by a power of two, which rounds nothing, so that float32 rows are centred in float32.
    scale = 2.0 ** np.floor(np.log2(peak or 1.0))
    exact = rows.dtype.itemsize <= 4 and _MODERATE[0] < peak < _MODERATE[1]
    kind = np.float32 if exact else np.float64
    # Rounded, so that the order in which the mean was summed leaves no trace.
    mean = (total / len(rows) / scale).astype(np.float32)
    points = np.empty(rows.shape, dtype=np.float32)
    for where in row_slices(rows):
        scaled: FloatArray = rows[where].astype(kind)
        scaled /= kind(scale)
        scaled -= mean
        points[where] = scaled
        points[where] *= np.float32(scale / peak) if peak else 1
        # Adding zero turns -0.0 into 0.0, so that equal rows have equal bytes.
        points[where] += np.float32(0)
    return points
