"""Collaborative columns: items by who uses them, a low-pass of the interaction graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from scipy.sparse.linalg import LinearOperator, eigsh
from threadpoolctl import threadpool_limits

from sgurinit.core.inputs.arrays import Float32Array, Float64Array

# What is added to every degree: one interaction more, as in Laplace's rule.
REGULARISER = 1.0

# Up to this many users, or items, all directions of that side's Gram matrix are cheap; beyond it
# the leading ones are computed.
_SMALL = 512

# Interactions in parts, users divided among them: each gives binary ones, shape (some, n_items).
Parts = Sequence[Callable[[], sp.csr_array]]


def collaborative_items(
    parts: Parts,
    degrees: Float64Array,
    dim: int,
    *,
    n_jobs: int | None = None,
    on_pass: Callable[[int], object] | None = None,
) -> Float32Array:
    r"""Describe every item by who uses it: an ideal low-pass of the interaction graph.

    With degrees :math:`D_U, D_I` and :math:`\tau = 1`, the leading right singular vectors V of the
    regularised, normalised interactions
    :math:`(D_U + \tau)^{-1/2} R (D_I + \tau)^{-1/2}` are scaled to
    :math:`F = (D_I + \tau)^{1/2} V`. Keeping the leading vectors alone is an ideal low-pass filter
    on the interaction graph, as in PureSVD (Cremonesi et al., RecSys 2010) and GF-CF (Shen et al.,
    CIKM 2021). Adding :math:`\tau` to the degrees is Zhang and Rohe's regularisation
    (Understanding Regularized Spectral Clustering via Graph Conductance, NeurIPS 2018): without it
    the leading directions of sparse interactions are small groups of users and items without a
    link to the others. A user at the mean of the rows of their items scores item i at
    :math:`|N(u)|^{-1} \sum_j f_j \cdot f_i`.

    This is not part of SG-URInit.

    Parameters
    ----------
    parts : sequence of callables
        Each gives the binary training interactions of some users, csr_array of shape
        (n_users_of_it, n_items); all of them together at least one interaction. They are asked
        again and again, and nothing as large as the interactions is kept.
    degrees : ndarray of float64, shape (n_items,)
        Users of each item.
    dim : int, >= 1
        Number of directions, the rank of the filter.
    n_jobs : int, optional
        Parts at a time, as in scikit-learn. The result is the same for any number.
    on_pass : callable, optional
        Called with the number of passes over the interactions so far.

    Returns
    -------
    ndarray of float32, shape (n_items, dim)
        Zero for an item without interactions. Columns beyond the rank are zero. Signs are fixed by
        the columns: their largest entry is positive.
    """
    scales = 1.0 / np.sqrt(degrees + REGULARISER)
    with (
        threadpool_limits(limits=1),  # the same sums on any machine
        ThreadPoolExecutor(min(effective_n_jobs(n_jobs), len(parts))) as threads,
    ):
        passes = count(1)

        def gram(columns: Float64Array) -> Float64Array:
            """Multiply by the Gram matrix of the scaled interactions, items by items."""
            scaled = (scales * columns.T).T
            total = np.zeros_like(scaled)
            for product in threads.map(partial(_gram, columns=scaled), parts):
                total += product
            if on_pass is not None:
                on_pass(next(passes))
            return (scales * total.T).T

        squares, vectors = _leading(gram, parts, scales, dim)
    order = np.argsort(-squares, kind="stable")[:dim]
    smallest = (np.finfo(np.float32).eps) ** 2 * squares.max()
    columns = vectors[:, order[squares[order] > smallest]]
    largest = np.abs(columns).argmax(axis=0)
    columns = columns * np.sign(columns[largest, np.arange(columns.shape[1])])
    items = np.zeros((len(degrees), dim), dtype=np.float32)
    items[:, : columns.shape[1]] = columns / scales[:, None]
    items[degrees == 0] = 0.0
    return items


def _gram(part: Callable[[], sp.csr_array], columns: Float64Array) -> Float64Array:
    """Product of ``R^T (D_U + 1)^-1 R`` over the users of one part."""
    matrix = part()
    weights = 1.0 / (np.diff(matrix.indptr) + REGULARISER)
    product: Float64Array = matrix.T @ (weights * (matrix @ columns).T).T
    return product


def _leading(
    gram: Callable[[Float64Array], Float64Array], parts: Parts, scales: Float64Array, dim: int
) -> tuple[Float64Array, Float64Array]:
    """At least the `dim` largest eigenvalues of the Gram matrix, and their vectors as columns."""
    small, n_items = max(_SMALL, dim), len(scales)
    if n_items <= small:
        squares, vectors = np.linalg.eigh(gram(np.eye(n_items)))
        return squares, vectors
    if sum(part().shape[0] for part in parts) <= small:
        return _by_users(sp.csr_array(sp.vstack([part() for part in parts])), scales)
    operator = LinearOperator((n_items, n_items), matvec=gram, dtype=np.float64)
    begin = np.random.default_rng(0).normal(size=n_items)
    squares, vectors = eigsh(operator, dim, v0=begin)
    return squares, vectors


def _by_users(matrix: sp.csr_array, scales: Float64Array) -> tuple[Float64Array, Float64Array]:
    """All of them by way of the few users there are."""
    weights = 1.0 / np.sqrt(np.diff(matrix.indptr) + REGULARISER)
    scaled = sp.diags_array(weights) @ matrix.astype(np.float64) @ sp.diags_array(scales)
    squares, users = np.linalg.eigh((scaled @ scaled.T).toarray())
    squares = np.maximum(squares, 0.0)
    return squares, scaled.T @ users / np.sqrt(np.where(squares > 0, squares, 1.0))
