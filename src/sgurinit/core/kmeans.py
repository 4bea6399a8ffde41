"""K-means on points that are ready for it, by one of several back ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from sgurinit.core.features import Float32Array, FloatArray
from sgurinit.errors import InputError

LabelArray = NDArray[np.int32]

N_INIT = 10

# Lloyd's starts are tried on so many rows that rows times clusters, which an iteration takes, is at
# most this, but at least so many per cluster; and along at least so many leading directions, at
# least one per cluster, found on so many numbers. The best goes on on all rows, for at most so many
# iterations.
SAMPLE_CELLS = 1 << 17
SAMPLE_PER_CLUSTER = 64
DIRECTIONS = 32
DIRECTION_CELLS = 1 << 22
REFINEMENTS = 20

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
    found: LabelArray = best.labels_
    if leading is points:
        return found
    sizes = np.bincount(found, minlength=n_clusters)
    means = cluster_sums(sample, found, n_clusters) / np.maximum(sizes, 1)[:, None]
    # Without a tolerance, whose variance is one more copy of all points.
    best = KMeans(n_clusters, init=means, n_init=1, max_iter=REFINEMENTS, tol=0, copy_x=False).fit(
        points
    )
    return np.asarray(best.labels_)


def cluster_sums(rows: FloatArray, labels: LabelArray, n_clusters: int) -> FloatArray:
    """Sum of each cluster's rows, in their precision, shape (K, d)."""
    one_hot = sp.csr_array(
        (np.ones(len(rows), rows.dtype), (labels, np.arange(len(rows)))),
        shape=(n_clusters, len(rows)),
    )
    return np.asarray(one_hot @ rows)


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
