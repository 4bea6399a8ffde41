"""A closed-form model of which items go together, from interactions and content."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import FloatArray
from sgurinit.core.inputs.features import iter_row_slices
from sgurinit.core.steps.collaborative import Directions, PartSums
from sgurinit.core.steps.processor import (
    NUMPY,
    Own,
    Processor,
    multiply_columns,
    multiply_rows,
)

# Multiplications that refine the leading directions, and the share of extra directions kept then.
_REFINEMENTS = 2
_EXTRA = 1.5
# Squared singular values relative to the largest that are above rounding errors.
_ROUNDING = 1e-10


class ItemModel(NamedTuple):
    r"""Partial correlations of the items, :math:`S = Y Y^T - \mathrm{diag}(Y Y^T)`.

    Attributes
    ----------
    rows : ndarray of float64, shape (n_items, k)
        Y.
    diagonal : ndarray of float64, shape (n_items,)
        Squared lengths of the rows.
    """

    rows: FloatArray
    diagonal: FloatArray

    def multiply(self, block: FloatArray, processor: Processor = NUMPY) -> FloatArray:
        """Multiply S by a block of columns, shape (n_items, c)."""
        inner = multiply_columns(processor, self.rows, block)
        product: FloatArray = multiply_rows(processor, self.rows, inner)
        for where in iter_row_slices(product):
            product[where] -= self.diagonal[where, None] * block[where]
        return product


def fit_item_model(
    directions: Directions,
    content: FloatArray,
    penalty: float,
    content_weight: float,
    processor: Processor = NUMPY,
) -> ItemModel:
    r"""Fit the partial correlations of the items, given interactions and content.

    With the normalized interactions X, content rows F of unit length and the mean g of the diagonal
    of :math:`X^T X`,

    .. math:: P = (X^T X + \lambda g I + \beta g F F^T)^{-1},
              \qquad S_{ij} = -P_{ij} / \sqrt{P_{ii} P_{jj}}, \quad S_{ii} = 0.

    The content acts as additional interactions that items with similar content have in common, as
    in collective EASE (Jeunen, Van Balen and Goethals, Closed-Form Models for Collaborative
    Filtering with Side-Information, RecSys 2020). EASE itself (Steck, WWW 2019) has R for X, no
    content and :math:`-P_{ij} / P_{jj}`; the scaling by both diagonals makes S symmetric. X^T X is
    replaced by the directions and the diagonal that they miss, so no matrix of items times items is
    formed.

    Parameters
    ----------
    directions : Directions
        Directions of the interactions.
    content : ndarray of float64, shape (n_items, w)
        F; zero for an item without content.
    penalty : float > 0
        :math:`\lambda`.
    content_weight : float >= 0
        :math:`\beta`.
    processor : Processor
        What computes.

    Returns
    -------
    ItemModel
    """
    columns, squares, _ = directions
    unit = squares[squares > 0].mean()
    factor = np.sqrt(content_weight * unit)
    described = content_weight > 0
    width = columns.shape[1] + (content.shape[1] if described else 0)
    rows = np.empty((len(columns), width))
    noise, lowest = np.empty(len(columns)), np.empty(len(columns))
    xp, square = processor.xp, partial(_square_rows, processor)

    def load_rows(where: slice) -> Own:
        """Join directions and content of some items."""
        load = processor.put(columns[where], np.float64)
        if not described:
            return load
        return xp.hstack([load, processor.put(content[where] * factor, np.float64)])

    inner = processor.put(np.eye(width))
    # By blocks of rows, because tables of this width are the largest ones here.
    for where in processor.iter_slices(rows):
        load = load_rows(where)
        lengths = processor.get(square(processor.put(columns[where])))
        noise[where] = penalty * unit + np.maximum(squares[where] - lengths, 0.0)
        lowest[where] = 1.0 / (noise[where] + processor.get(square(load)))
        inner += load.T @ (load / processor.put(noise[where, None]))
    values, vectors = np.linalg.eigh(processor.get(inner))
    vectors /= np.sqrt(np.maximum(values, 1.0))
    turn = processor.put(vectors)
    diagonal = np.empty(len(columns))
    # The bounds hold exactly. They only matter where a small penalty leaves few correct digits.
    for where in processor.iter_slices(rows):
        own = (load_rows(where) / processor.put(noise[where, None])) @ turn
        left = np.maximum(1.0 / noise[where] - processor.get(square(own)), lowest[where])
        own = own / processor.put(np.sqrt(left)[:, None])
        rows[where] = processor.get(own)
        diagonal[where] = processor.get(square(own))
    return ItemModel(rows, diagonal)


def _square_rows(processor: Processor, rows: Own) -> Own:
    """Square the lengths of the rows."""
    return processor.xp.einsum("ij,ij->i", rows, rows)


def reduce_item_model(model: ItemModel, sums: PartSums, dim: int) -> FloatArray:
    r"""Reduce an item model to rows whose products approximate it where users need it.

    V holds the leading right singular vectors of :math:`D_U^{-1/2} R S`, what the model predicts
    for the users. The rows are :math:`E = V (V^T S V)_+^{1/2}`, so :math:`E E^T` is S within these
    directions, without its negative part.

    Parameters
    ----------
    model : ItemModel
        The model.
    sums : PartSums
        Sums over the same interactions.
    dim : int >= 1
        Number of columns.

    Returns
    -------
    ndarray of float64, shape (n_items, dim)
        The largest entry of every column is positive. Columns beyond the rank are zero: of the
        predictions, which is at most the number of users, and of the part of S that is kept.
    """
    processor = sums.processor
    basis = _orthonormalize(model.rows, processor)
    leading = _find_leading(sums, model.multiply(basis, processor), round(_EXTRA * dim))
    basis = multiply_rows(processor, basis, leading)
    for _ in range(_REFINEMENTS):
        predicted = model.multiply(basis, processor)
        block = model.multiply(sums.multiply(_multiply_mean, predicted), processor)
        basis = processor.find_basis(block)
    predicted = model.multiply(basis, processor)
    leading = _find_leading(sums, predicted, dim)
    basis, predicted = basis @ leading, predicted @ leading
    inner = basis.T @ predicted
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    rows = (basis @ (vectors * np.sqrt(np.maximum(values, 0.0))))[:, ::-1]
    largest = np.abs(rows).argmax(axis=0)
    rows = rows * np.where(rows[largest, np.arange(rows.shape[1])] < 0, -1.0, 1.0)
    return np.pad(rows, ((0, 0), (0, dim - rows.shape[1])))


def _orthonormalize(rows: FloatArray, processor: Processor = NUMPY) -> FloatArray:
    """Find an orthonormal basis of the columns, by blocks of rows: a QR needs several copies."""
    basis = rows.copy()
    for _ in range(2):  # the second time removes the rounding errors of the first
        values, vectors = np.linalg.eigh(multiply_columns(processor, basis, basis))
        kept = values > _ROUNDING**2 * values.max(initial=0.0)
        turn = processor.put(vectors[:, kept] / np.sqrt(values[kept]))
        for where in processor.iter_slices(basis):
            basis[where, : turn.shape[1]] = processor.get(processor.put(basis[where]) @ turn)
        basis = basis[:, : turn.shape[1]]
    return basis


def _find_leading(sums: PartSums, predicted: FloatArray, n: int) -> FloatArray:
    """Find the combinations of the columns that hold most of what is predicted for the users.

    They are at most `n`, without those that only hold rounding errors.
    """
    gram = sums.sum(partial(_square_means, predicted=sums.processor.put(predicted)))
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    kept = values > _ROUNDING * values.max(initial=0.0)
    leading: FloatArray = vectors[:, kept][:, ::-1][:, :n]
    return leading


def _square_means(users: sp.csr_array, processor: Processor, predicted: Own) -> Own:
    rows = processor.put_sparse(users) @ predicted
    rows /= processor.put(np.sqrt(np.maximum(np.diff(users.indptr), 1))[:, None])
    return rows.T @ rows


def _multiply_mean(users: sp.csr_array, processor: Processor, block: Own) -> Own:
    """Multiply by ``R^T D_U^-1 R`` of some users."""
    weights = processor.put(1.0 / np.maximum(np.diff(users.indptr), 1))
    matrix = processor.put_sparse(users)
    return matrix.T @ (weights[:, None] * (matrix @ block))
