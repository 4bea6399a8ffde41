"""Clusters of the items of one modality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sgurinit.core.inputs.arrays import Float32Array, Float64Array, FloatArray, IntArray, LabelArray
from sgurinit.core.inputs.features import iter_row_blocks, iter_row_slices
from sgurinit.core.steps.kmeans import compute_cluster_means, k_means
from sgurinit.core.steps.processor import NUMPY, Processor
from sgurinit.errors import InputError

# Columns that are sorted at a time.
_COLUMNS_AT_A_TIME = 64

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

    See Also
    --------
    UserStart : Holds the clusters of every modality.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> clusters = SGURInit(random_state=0).fit(planted(200, 100)).start_.clusters["text"]
    >>> clusters
    Clusters(8 of 100 items)
    >>> clusters.centroids.shape
    (8, 32)
    """

    centroids: Float32Array
    labels: LabelArray

    def __repr__(self) -> str:
        return f"Clusters({len(self.centroids)} of {len(self.labels):,} items)"


def cluster_rows(
    rows: FloatArray,
    n_clusters: int,
    seed: int,
    backend: str = "lloyd",
    processor: Processor = NUMPY,
) -> tuple[LabelArray, Float64Array]:
    """Cluster rows with K-means.

    The result depends on the values of the rows only, not on their order, memory layout or
    precision, as long as the precision holds them exactly. For that, `k_means` gets the rows
    centered, in float32 and sorted by value.

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
    processor : Processor
        What computes, see `k_means`.

    Returns
    -------
    labels : ndarray of int32, shape (n,)
        Cluster of each row.
    centroids : ndarray of float64, shape (K, d)
        Exact means of the members.

    Raises
    ------
    InputError
        There are fewer distinct rows than clusters (the message names both numbers), or the
        backend is not installed.
    """
    points = _normalize(rows)
    order = np.argsort(points.view(f"V{points.shape[1] * 4}").ravel(), kind="stable")
    distinct = _sort_(points, order)
    if n_clusters > distinct:
        raise InputError(
            f"n_clusters={n_clusters} is more than the {distinct} distinct item rows: "
            f"choose at most {distinct}"
        )
    labels = np.empty(len(order), dtype=np.int32)
    labels[order] = k_means(points, n_clusters, seed, backend, processor)
    return labels, compute_cluster_means(rows, labels, n_clusters, processor=processor)


def _sort_(points: Float32Array, order: IntArray) -> int:
    """Sort points in place, some columns at a time, and count the distinct ones."""
    changes = np.zeros(len(points) - 1, dtype=bool)
    for first in range(0, points.shape[1], _COLUMNS_AT_A_TIME):
        columns = slice(first, first + _COLUMNS_AT_A_TIME)
        part = points[order, columns]
        points[:, columns] = part
        if not changes.all():
            changes |= (part[1:] != part[:-1]).any(axis=1)
    return 1 + int(changes.sum())


def _normalize(rows: FloatArray) -> Float32Array:
    """Center rows and scale them to at most about 1, in float32, which keeps the clusters."""
    peak, total = 0.0, np.zeros(rows.shape[1])
    for where, block in iter_row_blocks(rows):
        peak = max(peak, float(rows[where].max()), -float(rows[where].min()))
        total += block.sum(axis=0)
    # First scaled by a power of two, which does not round, so that float32 rows are centered in
    # float32.
    scale = 2.0 ** np.floor(np.log2(peak or 1.0))
    exact = rows.dtype.itemsize <= 4 and _MODERATE[0] < peak < _MODERATE[1]
    kind = np.float32 if exact else np.float64
    # Rounded, so that the order of the terms of the mean does not matter.
    mean = (total / len(rows) / scale).astype(np.float32)
    points = np.empty(rows.shape, dtype=np.float32)
    for where in iter_row_slices(rows):
        scaled: FloatArray = rows[where].astype(kind)
        scaled /= kind(scale)
        scaled -= mean
        points[where] = scaled
        points[where] *= np.float32(scale / peak) if peak else 1
        # Adding zero turns -0.0 into 0.0, so that equal rows have equal bytes.
        points[where] += np.float32(0)
    return points
