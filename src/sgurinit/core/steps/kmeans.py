"""K-means on points that are ready for it, by one of several back ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from sgurinit.core.inputs.arrays import Float32Array, Float64Array, FloatArray, LabelArray
from sgurinit.core.inputs.features import row_slices
from sgurinit.errors import InputError

N_INIT = 10

# Lloyd's starts are tried on so many rows that rows times clusters, which an iteration takes, is at
# most this, but at least so many per cluster; and along at least so many leading directions, at
# least one per cluster, found on so many numbers. The best goes on on all rows, for at most so many
# iterations.
SAMPLE_CELLS = 1 << 17
SAMPLE_PER_CLUSTER = 64
DIRECTIONS = 32
DIRECTION_CELLS = 1 << 21
REFINEMENTS = 20
# Products of points and means that are held at a time.
PRODUCTS = 1 << 20

_BATCH = 4096
_FAISS_ITERATIONS = 25
_FAISS_PER_CLUSTER = 256


def k_means(points: Float32Array, n_clusters: int, seed: int, backend: str = "lloyd") -> LabelArray:
    """Cluster points with one of `BACKENDS`, on one thread, where the order of sums is fixed.

    ``"lloyd"`` is k-means++ with the best of 10 starts. Where there are many rows or columns the
    starts are tried on a sample of the rows along their leading directions, which hold nearly all
    that tells clusters apart, and Lloyd's iterations go on from the best on all of it. The inertia
    is that of trying the starts on all of it, to about half a per cent, at a fraction of the time.
    ``"minibatch"`` sees a few thousand rows at a time; ``"faiss"`` is made for thousands of
    clusters.

    Parameters
    ----------
    points : ndarray of float32, shape (n, d)
        Finite rows of a size of about 1, at least `n_clusters` distinct ones.
    n_clusters : int
        K.
    seed : int
        Seed of everything random.
    backend : {"lloyd", "minibatch", "faiss"}
        How.

    Returns
    -------
    ndarray of int32, shape (n,)
        Cluster of each point.

    Raises
    ------
    InputError
        When faiss is asked for and not installed.
    """
    with threadpool_limits(limits=1):
        return BACKENDS[backend](points, n_clusters, seed).astype(np.int32)


def _lloyd(points: Float32Array, n_clusters: int, seed: int) -> LabelArray:
    wanted = max(SAMPLE_CELLS // n_clusters, SAMPLE_PER_CLUSTER * n_clusters)
    sample = _sample(points, wanted, seed)
    leading = _leading(sample, n_clusters, seed)
    best = KMeans(n_clusters, n_init=N_INIT, random_state=seed).fit(leading)
    if leading is points:
        return np.asarray(best.labels_)
    # A sample of few distinct rows has fewer clusters.
    used, found = np.unique(best.labels_, return_inverse=True)
    means = cluster_means(sample, found.astype(np.int32), len(used), np.float32)
    return refine(points, means, n_clusters)


def refine(points: Float32Array, means: Float64Array, n_clusters: int) -> LabelArray:
    """Lloyd's iterations from given means, at most as many as clusters are wanted.

    scikit-learn's would centre all points once more, in most of the time that this takes.
    """
    labels, nearness = _nearest(points, means)
    for _ in range(REFINEMENTS):
        means = cluster_means(points, labels, n_clusters, np.float32)
        empty = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0)
        if len(empty):
            # As scikit-learn has it: a cluster that lost all goes on from a point far from its own.
            distances = np.einsum("nd,nd->n", points, points) / 2 - nearness
            means[empty] = points[np.argpartition(-distances, len(empty) - 1)[: len(empty)]]
        before = labels
        labels, nearness = _nearest(points, means)
        if np.array_equal(labels, before):
            break
    return labels


def _nearest(points: Float32Array, means: Float64Array) -> tuple[LabelArray, Float32Array]:
    """Each point's nearest mean, and ``|x|^2 / 2`` less half their squared distance."""
    axes = means.astype(np.float32).T
    lengths = (means**2).sum(axis=1).astype(np.float32) / 2
    labels = np.empty(len(points), dtype=np.int32)
    nearness = np.empty(len(points), dtype=np.float32)
    step = max(1, PRODUCTS // len(means))
    for first in range(0, len(points), step):
        block = slice(first, first + step)
        products = points[block] @ axes
        products -= lengths
        labels[block] = products.argmax(axis=1)
        nearness[block] = products.max(axis=1)
    return labels, nearness


def cluster_means(
    rows: FloatArray, labels: LabelArray, n_clusters: int, precision: type[np.floating] = np.float64
) -> Float64Array:
    """Mean of each cluster's rows, shape (K, d); zero for an empty one.

    Rows are added up in `precision` within blocks of them, the blocks in float64.
    """
    sums = np.zeros((n_clusters, rows.shape[1]))
    for where in row_slices(rows):
        block = np.asarray(rows[where], dtype=precision)
        members = (np.ones(len(block), precision), (labels[where], np.arange(len(block))))
        sums += sp.csr_array(members, shape=(n_clusters, len(block))) @ block
    sizes = np.bincount(labels, minlength=n_clusters)
    means: Float64Array = sums / np.maximum(sizes, 1)[:, None]
    return means


def _sample(points: Float32Array, wanted: int, seed: int) -> Float32Array:
    if len(points) <= wanted:
        return points
    return points[np.random.default_rng(seed).choice(len(points), wanted, replace=False)]


def _leading(points: Float32Array, n_clusters: int, seed: int) -> Float32Array:
    """Coordinates along the leading directions, where these are less than half of the columns."""
    wanted, width = max(DIRECTIONS, n_clusters), points.shape[1]
    if width <= 2 * wanted or len(points) <= wanted:
        return points
    some = _sample(points, max(DIRECTION_CELLS // width, 8 * wanted), seed)
    left, values, axes = randomized_svd(some, wanted, n_iter=1, random_state=seed)
    # The first is there already where the directions were found on all points.
    coordinates: Float32Array = left * values if some is points else points @ axes.T
    return np.asarray(coordinates, dtype=np.float32)


def _minibatch(points: Float32Array, n_clusters: int, seed: int) -> LabelArray:
    batch = max(_BATCH, 4 * n_clusters)
    found = MiniBatchKMeans(n_clusters, batch_size=batch, n_init=N_INIT, random_state=seed)
    return np.asarray(found.fit(points).labels_)


def _faiss(points: Float32Array, n_clusters: int, seed: int) -> LabelArray:
    try:
        import faiss  # noqa: PLC0415  (optional)
    except ModuleNotFoundError:
        raise InputError(
            "kmeans='faiss' needs faiss, which is not installed: pip install 'sgurinit[faiss]'"
        ) from None
    kmeans = faiss.Kmeans(
        points.shape[1],
        n_clusters,
        niter=_FAISS_ITERATIONS,
        nredo=N_INIT if n_clusters <= DIRECTIONS else 1,
        seed=seed & 0x7FFFFFFF,
        min_points_per_centroid=1,
        max_points_per_centroid=_FAISS_PER_CLUSTER,
    )
    rows = np.ascontiguousarray(points)
    kmeans.train(rows)
    nearest = kmeans.index.search(rows, 1)[1]
    return np.asarray(nearest[:, 0], dtype=np.int32)


BACKENDS: Mapping[str, Callable[[Float32Array, int, int], LabelArray]] = {
    "lloyd": _lloyd,
    "minibatch": _minibatch,
    "faiss": _faiss,
}
