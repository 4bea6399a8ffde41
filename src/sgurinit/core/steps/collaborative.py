"""Collaborative columns: items described by who uses them."""

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

# Added to every degree: one more interaction, as in Laplace's rule.
REGULARIZER = 1.0

# With up to this many users or items, all directions of that side's Gram matrix are computed. With
# more, only the leading ones.
_SMALL = 512

# Interactions of some users per part: each callable returns a binary matrix, shape (some, n_items).
InteractionParts = Sequence[Callable[[], sp.csr_array]]


def compute_collaborative_items(
    parts: InteractionParts,
    degrees: Float64Array,
    dim: int,
    *,
    n_jobs: int | None = None,
    on_pass: Callable[[int], object] | None = None,
) -> Float32Array:
    r"""Compute collaborative columns: items described by who uses them.

    With degrees :math:`D_U, D_I` and :math:`\tau = 1`, the leading right singular vectors V of the
    regularized, normalized interactions
    :math:`(D_U + \tau)^{-1/2} R (D_I + \tau)^{-1/2}` are scaled to
    :math:`F = (D_I + \tau)^{1/2} V`. Keeping only the leading vectors is an ideal low-pass filter
    on the interaction graph, as in PureSVD (Cremonesi et al., RecSys 2010) and GF-CF (Shen et al.,
    CIKM 2021). Adding :math:`\tau` to the degrees is Zhang and Rohe's regularization
    (Understanding Regularized Spectral Clustering via Graph Conductance, NeurIPS 2018). Without it
    the leading directions of sparse interactions are small groups of users and items that have no
    link to the others. A user at the mean of the rows of their items scores item i at
    :math:`|N(u)|^{-1} \sum_j f_j \cdot f_i`.

    Collaborative columns are not part of SG-URInit.

    Parameters
    ----------
    parts : sequence of callables
        Each returns the binary training interactions of some users, a csr_array of shape
        (n_users_in_it, n_items). Together they hold at least one interaction. They are called once
        per pass, so the interactions need not fit into memory.
    degrees : ndarray of float64, shape (n_items,)
        Number of users of each item.
    dim : int >= 1
        Number of columns, the rank of the filter.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.
    on_pass : callable, optional
        Called with the number of passes over the interactions so far.

    Returns
    -------
    ndarray of float32, shape (n_items, dim)
        Zero for an item without interactions. Columns beyond the rank of the interactions are
        zero. The largest entry of every column is positive.

    See Also
    --------
    sgurinit.SGURInit : Computes them with ``collaborative`` above 0.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> matrix = planted(200, 100).train_matrix()
    >>> items = compute_collaborative_items([lambda: matrix], matrix.sum(axis=0), 8)
    >>> items.shape
    (100, 8)
    """
    scales = 1.0 / np.sqrt(degrees + REGULARIZER)
    with (
        threadpool_limits(limits=1),  # the order of sums is then the same on any machine
        ThreadPoolExecutor(min(effective_n_jobs(n_jobs), len(parts))) as threads,
    ):
        passes = count(1)

        def gram(columns: Float64Array) -> Float64Array:
            """Multiply by the Gram matrix of the scaled interactions, (n_items, n_items)."""
            scaled = (scales * columns.T).T
            total = np.zeros_like(scaled)
            for product in threads.map(partial(_gram, columns=scaled), parts):
                total += product
            if on_pass is not None:
                on_pass(next(passes))
            return (scales * total.T).T

        squares, vectors = _find_leading(gram, parts, scales, dim)
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
    """Multiply by ``R^T (D_U + 1)^-1 R`` of the users of one part."""
    matrix = part()
    weights = 1.0 / (np.diff(matrix.indptr) + REGULARIZER)
    product: Float64Array = matrix.T @ (weights * (matrix @ columns).T).T
    return product


def _find_leading(
    gram: Callable[[Float64Array], Float64Array],
    parts: InteractionParts,
    scales: Float64Array,
    dim: int,
) -> tuple[Float64Array, Float64Array]:
    """Find at least the `dim` largest eigenvalues of the Gram matrix, and their vectors."""
    small, n_items = max(_SMALL, dim), len(scales)
    if n_items <= small:
        squares, vectors = np.linalg.eigh(gram(np.eye(n_items)))
        return squares, vectors
    if sum(part().shape[0] for part in parts) <= small:
        return _solve_by_users(sp.csr_array(sp.vstack([part() for part in parts])), scales)
    operator = LinearOperator((n_items, n_items), matvec=gram, dtype=np.float64)
    begin = np.random.default_rng(0).normal(size=n_items)
    squares, vectors = eigsh(operator, dim, v0=begin)
    return squares, vectors


def _solve_by_users(
    matrix: sp.csr_array, scales: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Find all eigenvalues and vectors through the Gram matrix of the users, who are few."""
    weights = 1.0 / np.sqrt(np.diff(matrix.indptr) + REGULARIZER)
    scaled = sp.diags_array(weights) @ matrix.astype(np.float64) @ sp.diags_array(scales)
    squares, users = np.linalg.eigh((scaled @ scaled.T).toarray())
    squares = np.maximum(squares, 0.0)
    return squares, scaled.T @ users / np.sqrt(np.where(squares > 0, squares, 1.0))
