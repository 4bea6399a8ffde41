"""Sparse graphs and propagation over them, shared by the graph models."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sgurinit.core import ItemFeatures
from sgurinit.models.blocks.cache import cached_graph

Sparse = Any  # SciPy's array and matrix classes share no typed base
IntArray = NDArray[np.integer[Any]]
KNN_BLOCK = 512


class _Csr(NamedTuple):
    """A sparse matrix by rows: entries ``offsets[r]:offsets[r + 1]`` belong to row r."""

    offsets: Tensor
    columns: Tensor
    weights: Tensor


def _product(matrix: _Csr, x: Tensor) -> Tensor:
    # A weighted sum of looked-up rows is what embedding bags compute, and torch's kernel for those
    # is several times faster on CPUs than its CSR product.
    return functional.embedding_bag(
        matrix.columns,
        x.contiguous(),
        matrix.offsets,
        mode="sum",
        per_sample_weights=matrix.weights.to(x.dtype),
        include_last_offset=True,
    )


class _Propagate(torch.autograd.Function):
    """``A @ x`` with gradient ``A.T @ g``; the graph itself is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: _Csr, transposed: _Csr) -> Tensor:
        ctx.save_for_backward(*transposed)
        return _product(matrix, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _product(_Csr(*ctx.saved_tensors), grad), None, None


class SparseGraph(nn.Module):
    """A constant sparse matrix that dense tables are multiplied with.

    Stored by rows together with its transpose (the same tensors where the matrix is symmetric), so
    that neither direction of a training step converts formats. It moves between devices with the
    model and stays out of the model's saved state.

    Parameters
    ----------
    matrix
        Sparse matrix ``(n, m)``; stored as float32.
    symmetric
        Whether the matrix equals its transpose.
    """

    def __init__(self, matrix: Sparse, *, symmetric: bool = False) -> None:
        super().__init__()
        self.shape: tuple[int, int] = matrix.shape
        forward = _csr(matrix)
        backward = forward if symmetric else _csr(matrix.T)
        for direction, csr in (("forward", forward), ("backward", backward)):
            for name, tensor in csr._asdict().items():
                self.register_buffer(f"_{direction}_{name}", tensor, persistent=False)

    def _direction(self, direction: str) -> _Csr:
        return _Csr(*(self.get_buffer(f"_{direction}_{name}") for name in _Csr._fields))

    def directions(self) -> tuple[_Csr, _Csr]:
        """The matrix and its transpose."""
        return self._direction("forward"), self._direction("backward")

    def forward(self, x: Tensor) -> Tensor:
        """Product with the dense table `x` ``(m, d)``: ``(n, d)``."""
        return cast(Tensor, _Propagate.apply(x, *self.directions()))  # type: ignore[no-untyped-call]

    def to_scipy(self) -> Sparse:
        """The matrix as ``scipy.sparse.csr_array``."""
        csr = self._direction("forward")
        data, columns, offsets = (t.cpu().numpy() for t in (csr.weights, csr.columns, csr.offsets))
        return sp.csr_array((data, columns, offsets), shape=self.shape)


def _csr(matrix: Sparse) -> _Csr:
    csr = sp.csr_array(matrix)
    csr.sum_duplicates()
    # Half the bytes per index, as long as the number of entries allows it.
    integer = np.int32 if max(csr.nnz, *csr.shape) <= np.iinfo(np.int32).max else np.int64
    return _Csr(
        torch.from_numpy(csr.indptr.astype(integer)),
        torch.from_numpy(csr.indices.astype(integer)),
        torch.from_numpy(csr.data.astype(np.float32)),
    )


class _Pattern(NamedTuple):
    """Places of a sparse matrix's entries by row, and how to read them by column."""

    offsets: Tensor
    columns: Tensor
    transposed_offsets: Tensor
    transposed_columns: Tensor
    transposed_order: Tensor


def _by_column(pattern: _Pattern, weights: Tensor) -> _Csr:
    """The transpose of the pattern's matrix with `weights` by row."""
    ordered = weights[pattern.transposed_order]
    return _Csr(pattern.transposed_offsets, pattern.transposed_columns, ordered)


class _PropagateLearnt(torch.autograd.Function):
    """``A(w) @ x`` with gradients for `x` and, at the pattern's entries alone, for `w`."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, x: Tensor, pattern: _Pattern) -> Tensor:
        ctx.save_for_backward(weights, x, *pattern)
        return _product(_Csr(pattern.offsets, pattern.columns, weights), x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weights, x, *tensors = ctx.saved_tensors
        pattern = _Pattern(*tensors)
        grad = grad.contiguous()
        for_weights = for_x = None
        if ctx.needs_input_grad[0]:
            for_weights = _entries(pattern, grad, x)
        if ctx.needs_input_grad[1]:
            for_x = _product(_by_column(pattern, weights), grad)
        return for_weights, for_x, None


class _Entries(torch.autograd.Function):
    """Entries of ``left @ right.T`` at a pattern; the gradients are sparse products."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pattern: _Pattern) -> Tensor:
        ctx.save_for_backward(left, right, *pattern)
        return _entries(pattern, left, right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right, *tensors = ctx.saved_tensors
        pattern = _Pattern(*tensors)
        for_left = _product(_Csr(pattern.offsets, pattern.columns, grad), right)
        return for_left, _product(_by_column(pattern, grad), left), None


def _entries(pattern: _Pattern, left: Tensor, right: Tensor) -> Tensor:
    """Entries of ``left @ right.T`` at a pattern, ``(nnz,)``, without the dense product."""
    with warnings.catch_warnings():  # torch announces that CSR is in beta, once per process
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


class LearntGraph(nn.Module):
    """A sparse matrix with constant pattern whose weights are learnt.

    Entry ``weights[e]`` stands at row ``rows[e]`` and column ``columns[e]``; the entries may be
    given in any order, each place once.

    Parameters
    ----------
    rows, columns
        Places of the entries, ``(nnz,)`` integers.
    shape
        ``(n, m)``.
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
        """Product of the matrix of `weights` ``(nnz,)`` with `x` ``(m, d)``: ``(n, d)``."""
        ordered = weights[self.get_buffer("_order")]
        return cast(Tensor, _PropagateLearnt.apply(ordered, x, self._pattern()))  # type: ignore[no-untyped-call]

    def _pattern(self) -> _Pattern:
        return _Pattern(*(self.get_buffer(f"_{name}") for name in _Pattern._fields))

    def products(self, left: Tensor, right: Tensor) -> Tensor:
        """Dot product of `left`'s row and `right`'s column at each entry, ``(nnz,)``."""
        entries = cast(Tensor, _Entries.apply(left, right, self._pattern()))  # type: ignore[no-untyped-call]
        return entries[self.get_buffer("_place")]

    def softmax(self, logits: Tensor) -> Tensor:
        """Weights ``(nnz,)`` that sum to 1 over the entries of each row, from `logits`."""
        rows = self.get_buffer("_rows")
        sorted_logits = logits[self.get_buffer("_order")]
        # Shifted by the row's maximum, which changes nothing but the range of the exponentials.
        top = logits.new_full((self.shape[0],), -torch.inf)
        top = top.scatter_reduce(0, rows, sorted_logits.detach(), "amax")
        raised = (sorted_logits - top[rows]).exp()
        total = raised.new_zeros(self.shape[0]).index_add(0, rows, raised)
        return (raised / total[rows])[self.get_buffer("_place")]


def normalised(matrix: Sparse) -> Sparse:
    """Symmetrically normalised interactions ``D_U^-1/2 R D_I^-1/2``, ``(n_users, n_items)``.

    Rows and columns without entries stay zero.
    """
    csr = sp.csr_array(matrix)
    rows = _inverse_root(np.asarray(csr.sum(axis=1)).ravel())
    columns = _inverse_root(np.asarray(csr.sum(axis=0)).ravel())
    return sp.csr_array(sp.diags_array(rows) @ csr @ sp.diags_array(columns))


def bipartite(interactions: Sparse) -> SparseGraph:
    """Symmetric graph of users (first) and items over normalised `interactions`."""
    block = normalised(interactions)
    return SparseGraph(sp.block_array([[None, block], [block.T, None]]), symmetric=True)


class _PropagateMean(torch.autograd.Function):
    """``(x + A x + ... + A^n x) / (n + 1)`` and its gradient, the same sum over ``A.T``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: _Csr, transposed: _Csr, n_layers: int) -> Tensor:
        ctx.save_for_backward(*transposed)
        ctx.n_layers = n_layers
        return _layer_mean(matrix, x, n_layers)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _layer_mean(_Csr(*ctx.saved_tensors), grad, ctx.n_layers), None, None, None


def _layer_mean(matrix: _Csr, x: Tensor, n_layers: int) -> Tensor:
    total = x.clone()
    for _ in range(n_layers):
        x = _product(matrix, x)
        total += x
    return total.div_(n_layers + 1)


def propagate_mean(graph: SparseGraph, x: Tensor, n_layers: int) -> Tensor:
    """Mean of `x` and its `n_layers` propagations over `graph` (LightGCN, eq. 4)."""
    return cast(Tensor, _PropagateMean.apply(x, *graph.directions(), n_layers))  # type: ignore[no-untyped-call]


def nearest(unit: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each row's `k` nearest rows by dot product, itself included, a block of rows at a time.

    Parameters
    ----------
    unit
        Vectors ``(n, d)``; of unit length where nearest by cosine is meant.
    k
        Neighbours per row; all rows where there are fewer.

    Returns
    -------
    tuple of Tensor
        Products and positions, each ``(n, min(k, n))``, nearest first.
    """
    k = min(k, len(unit))
    best = [torch.topk(block @ unit.T, k, dim=1) for block in unit.split(KNN_BLOCK)]
    products, positions = zip(*best, strict=True)
    return torch.cat(products), torch.cat(positions)


@cached_graph(version=1)
def knn_graph(features: ItemFeatures, k: int, *, weighted: bool) -> Sparse:
    """Each item's `k` nearest items by cosine, symmetrically normalised by row sums.

    An item is among its own neighbours (unless more than `k` items equal it), as in the authors'
    code of LATTICE and its successors. Similarities are computed in blocks of rows, so the dense
    items x items matrix never exists. Kept on disk, see
    `cached_graph`.

    Parameters
    ----------
    features
        One modality. Items without a row in it, or with an all-zero one, which has no direction,
        have no neighbours and are nobody's.
    k
        Neighbours kept per item, itself included; at most the number of items with a row.
    weighted
        Keep the cosines as weights (negative ones become 0) or set all kept edges to 1.

    Returns
    -------
    scipy.sparse.csr_array
        ``D^-1/2 S D^-1/2``, ``(n_items, n_items)``, D the row sums of S.
    """
    values = features.values
    present = np.flatnonzero(features.mask())
    present = present[values[present].any(axis=1)]
    unit = functional.normalize(torch.tensor(values[present].astype(np.float32)), dim=1)
    cosines, neighbours = nearest(unit, k)
    rows = np.repeat(present, neighbours.shape[1])
    columns = present[neighbours.numpy().ravel()]
    kept = cosines.clamp(min=0) if weighted else torch.ones_like(cosines)
    data = kept.numpy().ravel()
    adjacency = sp.csr_array((data, (rows, columns)), shape=(len(values), len(values)))
    root = sp.diags_array(_inverse_root(np.asarray(adjacency.sum(axis=1)).ravel()))
    return sp.csr_array(root @ adjacency @ root)


def _inverse_root(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    roots = np.zeros(len(sums))
    np.power(sums, -0.5, out=roots, where=sums > 0)
    return roots
