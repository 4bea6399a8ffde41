"""Items described by who uses them: the regularised spectrum of the interactions."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from sgurinit.core.aggregate import item_degrees, user_degrees
from sgurinit.core.features import Float32Array, Float64Array

# What is added to every degree: one interaction more, as in Laplace's rule.
REGULARISER = 1.0

# Up to this many users, or items, all directions of that side's Gram matrix are cheap; beyond it
# the leading ones are computed.
_SMALL = 512


def spectral_items(matrix: sp.csr_array, dim: int) -> Float32Array:
    r"""Give every item a vector such that the mean of a user's items scores items well.

    With degrees :math:`D_U, D_I` and :math:`\tau = 1`, the leading right singular vectors V of
    :math:`(D_U + \tau)^{-1/2} R (D_I + \tau)^{-1/2}` are scaled to
    :math:`F = (D_I + \tau)^{1/2} V`. A user at the mean of the vectors of their items scores item i
    at :math:`|N(u)|^{-1} \sum_j f_j \cdot f_i`: the low-rank similarity of i to their items, damped
    less for popular items. Without :math:`\tau` the leading directions of sparse interactions
    are small groups of users and items without a link to the others (Zhang and Rohe,
    Understanding Regularized Spectral Clustering via Graph Conductance, NeurIPS 2018).

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
        Binary training interactions, at least one.
    dim : int, >= 1
        Number of directions.

    Returns
    -------
    ndarray of float32, shape (n_items, dim)
        Zero for an item without interactions. Columns beyond the rank are zero. Signs are fixed by
        the columns: their largest entry is positive.
    """
    by_user = 1.0 / np.sqrt(user_degrees(matrix) + REGULARISER)
    degrees = item_degrees(matrix)
    by_item = 1.0 / np.sqrt(degrees + REGULARISER)
    scaled = sp.csr_array(
        sp.diags_array(by_user) @ matrix.astype(np.float64) @ sp.diags_array(by_item)
    )
    vectors = _leading(scaled, dim) / by_item[:, None]
    items = np.zeros((len(degrees), dim), dtype=np.float32)
    items[:, : vectors.shape[1]] = vectors
    items[degrees == 0] = 0.0
    return items


def _leading(matrix: sp.csr_array, dim: int) -> Float64Array:
    """Right singular vectors of the largest singular values above rounding, as columns."""
    smaller = min(matrix.shape)
    with threadpool_limits(limits=1):  # the same sums on any machine
        if smaller <= max(_SMALL, dim):
            values, rows = _all(matrix)
        else:
            values, rows = _some(matrix, dim)
    order = np.argsort(-values, kind="stable")[:dim]
    order = order[values[order] > np.finfo(np.float32).eps * values.max()]
    columns = rows[order].T
    largest = np.abs(columns).argmax(axis=0)
    signed: Float64Array = columns * np.sign(columns[largest, np.arange(len(order))])
    return signed


def _all(matrix: sp.csr_array) -> tuple[Float64Array, Float64Array]:
    """All singular values and right singular vectors, as rows, by way of the smaller side."""
    by_items = matrix.shape[1] <= matrix.shape[0]
    gram = matrix.T @ matrix if by_items else matrix @ matrix.T
    squares, vectors = np.linalg.eigh(gram.toarray())
    values = np.sqrt(np.maximum(squares, 0.0))
    if by_items:
        return values, vectors.T
    return values, (matrix.T @ vectors / np.where(values > 0, values, 1.0)).T


def _some(matrix: sp.csr_array, dim: int) -> tuple[Float64Array, Float64Array]:
    """The `dim` largest singular values and their right singular vectors, as rows."""
    begin = np.random.default_rng(0).normal(size=min(matrix.shape))
    _, values, rows = svds(matrix, dim, v0=begin)
    return values.astype(np.float64), rows.astype(np.float64)
