"""Sparse graphs with learned weights."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from sgurinit.core.inputs.arrays import IntArray
from sgurinit.models.blocks._csr import Csr, multiply


class _Pattern(NamedTuple):
    """Places of a sparse matrix's entries by row, and how to read them by column."""

    offsets: Tensor
    columns: Tensor
    transposed_offsets: Tensor
    transposed_columns: Tensor
    transposed_order: Tensor


def _transpose(pattern: _Pattern, weights: Tensor) -> Csr:
    """Transpose the matrix that has this pattern and these `weights`, given by row."""
    ordered = weights[pattern.transposed_order]
    return Csr(pattern.transposed_offsets, pattern.transposed_columns, ordered)


class _PropagateLearned(torch.autograd.Function):
    """``A(w) @ x`` with gradients for `x` and for `w`, the latter only at the pattern's entries."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor, pattern: _Pattern) -> Tensor:
        ctx.save_for_backward(weights, x, *pattern)
        return multiply(Csr(pattern.offsets, pattern.columns, weights), x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weights, x, *tensors = ctx.saved_tensors
        pattern = _Pattern(*tensors)
        grad = grad.contiguous()
        for_weights = for_x = None
        if ctx.needs_input_grad[0]:
            for_weights = _multiply_at(pattern, grad, x)
        if ctx.needs_input_grad[1]:
            for_x = multiply(_transpose(pattern, weights), grad)
        return for_weights, for_x, None


class _MultiplyAt(torch.autograd.Function):
    """Entries of ``left @ right.T`` at a pattern. The gradients are sparse products."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pattern: _Pattern) -> Tensor:
        ctx.save_for_backward(left, right, *pattern)
        return _multiply_at(pattern, left, right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right, *tensors = ctx.saved_tensors
        pattern = _Pattern(*tensors)
        for_left = multiply(Csr(pattern.offsets, pattern.columns, grad), right)
        return for_left, multiply(_transpose(pattern, grad), left), None


def _multiply_at(pattern: _Pattern, left: Tensor, right: Tensor) -> Tensor:
    """Compute the entries of ``left @ right.T`` at a pattern, without the dense product."""
    with warnings.catch_warnings():  # torch warns once per process that CSR is in beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        empty = torch.sparse_csr_tensor(
            pattern.offsets,
            pattern.columns,
            left.new_zeros(len(pattern.columns)),
            size=(len(left), len(right)),
            check_invariants=False,
        )
    filled: Tensor = torch.sparse.sampled_addmm(empty, left, right.T, beta=0.0)
    return filled.values()


class LearnedGraph(nn.Module):
    """A sparse matrix with a constant pattern and learned weights.

    The weights are not stored here but passed to each call. Entry ``weights[e]`` stands at row
    ``rows[e]`` and column ``columns[e]``. Entries can come in any order; each place occurs once.

    Parameters
    ----------
    rows, columns : numpy.ndarray of int, shape (nnz,)
        Places of the entries.
    shape : tuple of int
        ``(n, m)``.

    See Also
    --------
    sgurinit.models.blocks.sparse_graph.SparseGraph : A graph whose weights are constant.

    Examples
    --------
    >>> import numpy as np, torch
    >>> graph = LearnedGraph(np.array([0, 0, 1]), np.array([0, 1, 1]), (2, 2))
    >>> graph.softmax(torch.zeros(3))
    tensor([0.5000, 0.5000, 1.0000])
    """

    def __init__(self, rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        by_row = np.lexsort((columns, rows))
        by_column = np.lexsort((rows, columns))
        place = np.empty(len(rows), np.int64)  # where by_row puts each entry
        place[by_row] = np.arange(len(rows))
        for name, array in {
            "rows": rows[by_row],
            "offsets": np.searchsorted(rows[by_row], np.arange(shape[0] + 1)),
            "columns": columns[by_row],
            "transposed_offsets": np.searchsorted(columns[by_column], np.arange(shape[1] + 1)),
            "transposed_columns": rows[by_column],
            "transposed_order": place[by_column],
            "order": by_row,
            "place": place,
        }.items():
            self.register_buffer(f"_{name}", torch.from_numpy(np.asarray(array, np.int64)), False)

    def forward(self, weights: Tensor, x: Tensor) -> Tensor:
        """Multiply the matrix of `weights` ``(nnz,)`` with `x` ``(m, d)``; returns ``(n, d)``."""
        ordered = weights[self.get_buffer("_order")]
        return cast(Tensor, _PropagateLearned.apply(ordered, x, self._pattern()))  # type: ignore[no-untyped-call]

    def _pattern(self) -> _Pattern:
        return _Pattern(*(self.get_buffer(f"_{name}") for name in _Pattern._fields))

    def multiply_at_entries(self, left: Tensor, right: Tensor) -> Tensor:
        """Compute ``left[row] · right[column]`` for each entry, ``(nnz,)``."""
        entries = cast(Tensor, _MultiplyAt.apply(left, right, self._pattern()))  # type: ignore[no-untyped-call]
        return entries[self.get_buffer("_place")]

    def softmax(self, logits: Tensor) -> Tensor:
        """Turn `logits` ``(nnz,)`` into weights that sum to 1 over the entries of each row."""
        rows = self.get_buffer("_rows")
        sorted_logits = logits[self.get_buffer("_order")]
        # Subtracting the row's maximum changes only the range of the exponentials.
        top = logits.new_full((self.shape[0],), -torch.inf)
        top = top.scatter_reduce(0, rows, sorted_logits.detach(), "amax")
        raised = (sorted_logits - top[rows]).exp()
        total = raised.new_zeros(self.shape[0]).index_add(0, rows, raised)
        return (raised / total[rows])[self.get_buffer("_place")]
