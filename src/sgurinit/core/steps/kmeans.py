"""K-means on normalized points, with one of several backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from sgurinit.core.inputs.arrays import Float32Array, Float64Array, LabelArray
from sgurinit.core.steps.processor import NUMPY, Own, Processor
from sgurinit.errors import InputError

_N_INIT = 10

# Rows times clusters of the sample on which Lloyd's initializations are compared.
_SAMPLE_CELLS = 1 << 17
# Smallest number of rows per cluster of that sample.
_SAMPLE_PER_CLUSTER = 64
# Smallest number of leading directions of that sample; at least one per cluster is used.
_DIRECTIONS = 32
# Numbers that these directions are computed from.
_DIRECTION_CELLS = 1 << 21
# Most iterations of the best initialization on all rows.
_REFINEMENTS = 20
# Products of points and means held at a time.
_PRODUCTS = 1 << 20

_BATCH = 4096
_FAISS_ITERATIONS = 25
_FAISS_PER_CLUSTER = 256


def k_means(
    points: Float32Array,
    n_clusters: int,
    seed: int,
    backend: str = "lloyd",
    processor: Processor = NUMPY,
) -> LabelArray:
    """Cluster points with one of the backends, on one thread so that the order of sums is fixed.

    ``"lloyd"`` takes the best of 10 k-means++ initializations. With many rows or columns, these are
    compared on a sample of the rows along the leading directions, which hold nearly all that
    separates the clusters. Lloyd's iterations then continue from the best one on all rows and
    columns. The inertia is within about half a percent of comparing them on all of the data, at a
    fraction of the time. ``"minibatch"`` reads a few thousand rows at a time. ``"faiss"`` is made
    for thousands of clusters.

    Parameters
    ----------
    points : ndarray of float32, shape (n, d)
        Finite rows of norm about 1, at least `n_clusters` of them distinct.
    n_clusters : int
        K.
    seed : int
        Seed of K-means.
    backend : {"lloyd", "minibatch", "faiss"}, default "lloyd"
        K-means backend.
    processor : Processor
        What computes the iterations of ``"lloyd"`` on all rows. The others use the CPU.

    Returns
    -------
    ndarray of int32, shape (n,)
        Cluster of each point.

    Raises
    ------
    InputError
        The backend is faiss, which is not installed.
    """
    with threadpool_limits(limits=1):
        if backend == "lloyd":
            return _cluster_lloyd(points, n_clusters, seed, processor).astype(np.int32)
        return _OTHER_BACKENDS[backend](points, n_clusters, seed).astype(np.int32)


def _cluster_lloyd(
    points: Float32Array, n_clusters: int, seed: int, processor: Processor
) -> LabelArray:
    size = max(_SAMPLE_CELLS // n_clusters, _SAMPLE_PER_CLUSTER * n_clusters)
    sample = _draw_sample(points, size, seed)
    leading = _project_to_leading(sample, n_clusters, seed)
    best = KMeans(n_clusters, n_init=_N_INIT, random_state=seed).fit(leading)
    if leading is points:
        return np.asarray(best.labels_)
    # A sample of few distinct rows has fewer clusters.
    used, found = np.unique(best.labels_, return_inverse=True)
    means = compute_cluster_means(sample, found.astype(np.int32), len(used), np.float32)
    return refine(points, means, n_clusters, processor)


def refine(
    points: Float32Array, means: Float64Array, n_clusters: int, processor: Processor = NUMPY
) -> LabelArray:
    """Run Lloyd's iterations from given means, of which there are at most `n_clusters`.

    scikit-learn's would center all points again, which takes most of the time that this takes.
    """
    held = processor.hold(points)
    labels, nearness = _find_nearest(held, means, processor)
    for _ in range(_REFINEMENTS):
        means = compute_cluster_means(held, labels, n_clusters, np.float32, processor)
        empty = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0)
        if len(empty):
            # As in scikit-learn, an empty cluster continues from a point far from its own mean.
            distances = np.einsum("nd,nd->n", points, points) / 2 - nearness
            means[empty] = points[np.argpartition(-distances, len(empty) - 1)[: len(empty)]]
        before = labels
        labels, nearness = _find_nearest(held, means, processor)
        if np.array_equal(labels, before):
            break
    return labels


def _find_nearest(
    points: Own, means: Float64Array, processor: Processor
) -> tuple[LabelArray, Float32Array]:
    """Find each point's nearest mean, and ``|x|^2 / 2`` minus half their squared distance."""
    precision = processor.nearest_precision
    axes = processor.put(means.astype(np.float32), precision).T
    lengths = processor.put((means**2).sum(axis=1).astype(np.float32) / 2, precision)
    labels = np.empty(len(points), dtype=np.int32)
    nearness = np.empty(len(points), dtype=np.float32)
    usual = max(1, _PRODUCTS // len(means))
    for block in processor.iter_slices(points, beside=len(means), usual=usual):
        products = processor.put(points[block], precision) @ axes
        products -= lengths
        labels[block] = processor.get(products.argmax(axis=1))  # the first of equal ones
        nearness[block] = processor.get(processor.xp.amax(products, axis=1))
    return labels, nearness


def compute_cluster_means(
    rows: Own,
    labels: LabelArray,
    n_clusters: int,
    precision: type[np.floating] = np.float64,
    processor: Processor = NUMPY,
) -> Float64Array:
    """Compute the mean of each cluster's rows, shape (K, d); zero for an empty cluster.

    Rows are added up in `precision` within a block of rows, and the blocks in float64.
    """
    sums = np.zeros((n_clusters, rows.shape[1]))
    for where in processor.iter_slices(rows, beside=n_clusters):
        block = processor.put(rows[where], precision)
        sums += processor.get(processor.sum_groups(block, labels[where], n_clusters))
    sizes = np.bincount(labels, minlength=n_clusters)
    means: Float64Array = sums / np.maximum(sizes, 1)[:, None]
    return means


def _draw_sample(points: Float32Array, size: int, seed: int) -> Float32Array:
    if len(points) <= size:
        return points
    return points[np.random.default_rng(seed).choice(len(points), size, replace=False)]


def _project_to_leading(points: Float32Array, n_clusters: int, seed: int) -> Float32Array:
    """Project to the leading directions, where these are less than half of the columns."""
    keep, width = max(_DIRECTIONS, n_clusters), points.shape[1]
    if width <= 2 * keep or len(points) <= keep:
        return points
    some = _draw_sample(points, max(_DIRECTION_CELLS // width, 8 * keep), seed)
    left, values, axes = randomized_svd(some, keep, n_iter=1, random_state=seed)
    # Where the directions were found on all points, the decomposition holds the coordinates.
    coordinates: Float32Array = left * values if some is points else points @ axes.T
    return np.asarray(coordinates, dtype=np.float32)


def _cluster_minibatch(points: Float32Array, n_clusters: int, seed: int) -> LabelArray:
    batch = max(_BATCH, 4 * n_clusters)
    found = MiniBatchKMeans(n_clusters, batch_size=batch, n_init=_N_INIT, random_state=seed)
    return np.asarray(found.fit(points).labels_)


def _cluster_faiss(points: Float32Array, n_clusters: int, seed: int) -> LabelArray:
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
        nredo=_N_INIT if n_clusters <= _DIRECTIONS else 1,
        seed=seed & 0x7FFFFFFF,
        min_points_per_centroid=1,
        max_points_per_centroid=_FAISS_PER_CLUSTER,
    )
    rows = np.ascontiguousarray(points)
    kmeans.train(rows)
    nearest = kmeans.index.search(rows, 1)[1]
    return np.asarray(nearest[:, 0], dtype=np.int32)


_OTHER_BACKENDS: Mapping[str, Callable[[Float32Array, int, int], LabelArray]] = {
    "minibatch": _cluster_minibatch,
    "faiss": _cluster_faiss,
}
