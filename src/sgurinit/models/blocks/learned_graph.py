"""Sparse graphs with learned weights."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sgurinit.models.blocks._csr import Csr, as_sparse_tensor, find_offsets, multiply


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
    # In mixed precision the tables can differ in precision. Torch wants one, of 32 bits at least.
    wide = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    left, right = left.to(wide), right.to(wide)
    zeros = left.new_zeros(len(pattern.columns))
    empty = as_sparse_tensor(Csr(pattern.offsets, pattern.columns, zeros), len(right), left.dtype)
    with torch.autocast(left.device.type, enabled=False):
        filled: Tensor = torch.sparse.sampled_addmm(empty, left, right.T, beta=0.0)
    return filled.values()


class LearnedGraph(nn.Module):
    """A sparse matrix with a constant pattern and learned weights.

    The weights are not stored here but passed to each call. Entry ``weights[e]`` stands at row
    ``rows[e]`` and column ``columns[e]``. Entries can come in any order. The weights of
    entries with the same place add up.

    Parameters
    ----------
    rows, columns : Tensor of int64, shape (nnz,)
        Places of the entries. The graph is on their device.
    shape : tuple of int
        ``(n, m)``.

    See Also
    --------
    sgurinit.models.blocks.sparse_graph.SparseGraph : A graph whose weights are constant.

    Examples
    --------
    >>> import torch
    >>> graph = LearnedGraph(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), (2, 2))
    >>> graph.softmax(torch.zeros(3))
    tensor([0.5000, 0.5000, 1.0000])
    """

    def __init__(self, rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        by_row = (rows * shape[1] + columns).argsort(stable=True)
        by_column = (columns * shape[0] + rows).argsort(stable=True)
        place = torch.empty_like(by_row)  # where by_row puts each entry
        place[by_row] = torch.arange(len(rows), device=rows.device)
        # 32-bit indices take half the memory, if the number of entries allows them.
        narrow = torch.int32 if max(len(rows), *shape) < 2**31 else torch.int64
        for name, tensor in {
            "rows": rows[by_row],
            "offsets": find_offsets(rows[by_row], shape[0]).to(narrow),
            "columns": columns[by_row].to(narrow),
            "transposed_offsets": find_offsets(columns[by_column], shape[1]).to(narrow),
            "transposed_columns": rows[by_column].to(narrow),
            "transposed_order": place[by_column],
            "order": by_row,
            "place": place,
        }.items():
            self.register_buffer(f"_{name}", tensor, persistent=False)

    def copy_(self, other: LearnedGraph) -> None:
        """Take over the places of another graph with as many entries and of the same shape."""
        for name, tensor in other.named_buffers():
            self.get_buffer(name).copy_(tensor)

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
