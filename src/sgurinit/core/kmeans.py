"""K-means on points that are ready for it, by one of several back ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from sgurinit.core.features import Float32Array
from sgurinit.errors import InputError

LabelArray = NDArray[np.int32]

N_INIT = 10

# Lloyd's starts are tried on at most this many rows, at least so many per cluster, and along at
# least so many leading directions, at least one per cluster.
SAMPLE_ROWS = 1 << 14
SAMPLE_PER_CLUSTER = 256
DIRECTIONS = 32

_BATCH = 4096
_FAISS_ITERATIONS = 25


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
    sample = _sample(points, n_clusters, seed)
    leading = _leading(sample, n_clusters, seed)
    best = KMeans(n_clusters, n_init=N_INIT, random_state=seed).fit(leading)
    found: LabelArray = best.labels_
    if leading is points:
        return found
    means = np.zeros((n_clusters, points.shape[1]), dtype=np.float32)
    for label in np.unique(found):
        means[label] = sample[found == label].mean(axis=0, dtype=np.float64)
    best = KMeans(n_clusters, init=means, n_init=1, copy_x=False).fit(points)
    return np.asarray(best.labels_)


def _sample(points: Float32Array, n_clusters: int, seed: int) -> Float32Array:
    wanted = max(SAMPLE_ROWS, SAMPLE_PER_CLUSTER * n_clusters)
    if len(points) <= wanted:
        return points
    return points[np.random.default_rng(seed).choice(len(points), wanted, replace=False)]


def _leading(points: Float32Array, n_clusters: int, seed: int) -> Float32Array:
    """Coordinates along the leading directions, where these are less than half of the columns."""
    wanted = max(DIRECTIONS, n_clusters)
    if points.shape[1] <= 2 * wanted or len(points) <= wanted:
        return points
    left, values, _ = randomized_svd(points, wanted, n_iter=1, random_state=seed)
    coordinates: Float32Array = (left * values).astype(np.float32)
    return coordinates


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
        max_points_per_centroid=SAMPLE_PER_CLUSTER,
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
