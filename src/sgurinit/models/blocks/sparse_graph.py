"""Constant sparse graphs and linear propagation over them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sgurinit.errors import InputError
from sgurinit.models.blocks._csr import Csr, Sparse, multiply, to_csr


class _Propagate(torch.autograd.Function):
    """``A @ x`` with gradient ``A.T @ g``. The graph itself is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Csr, transposed: Csr) -> Tensor:
        ctx.save_for_backward(*transposed)
        return multiply(matrix, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return multiply(Csr(*ctx.saved_tensors), grad), None, None


class SparseGraph(nn.Module):
    """A constant sparse matrix that multiplies dense tables.

    The matrix is stored by rows together with its transpose, so that neither direction of a
    training step converts formats. A symmetric matrix is stored once. The tensors move between
    devices with the model and are not part of its state dict.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, m)
        The matrix; stored as float32.
    symmetric : bool, default False
        Whether the matrix equals its transpose.

    See Also
    --------
    build_bipartite_graph : The normalized user-item graph.
    sgurinit.models.blocks.learned_graph.LearnedGraph : A graph whose weights are learned.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, torch
    >>> graph = SparseGraph(sp.csr_array(np.array([[1.0, 0, 2], [0, 3, 0]])))
    >>> graph(torch.ones(3, 1))
    tensor([[3.],
            [3.]])
    """

    def __init__(self, matrix: Sparse, *, symmetric: bool = False) -> None:
        super().__init__()
        self.shape: tuple[int, int] = matrix.shape
        self.symmetric = symmetric
        self.store(to_csr(matrix))
        if not symmetric:
            self._register("backward", to_csr(matrix.T))

    def store(self, matrix: Csr) -> None:
        """Hold other tensors as the matrix, which is symmetric if the graph is."""
        self._register("forward", matrix)

    def _register(self, direction: str, matrix: Csr) -> None:
        for name, tensor in matrix._asdict().items():
            self.register_buffer(f"_{direction}_{name}", tensor, persistent=False)

    def _direction(self, direction: str) -> Csr:
        return Csr(*(self.get_buffer(f"_{direction}_{name}") for name in Csr._fields))

    def directions(self) -> tuple[Csr, Csr]:
        """Return the matrix and its transpose."""
        matrix = self._direction("forward")
        return matrix, matrix if self.symmetric else self._direction("backward")

    def forward(self, x: Tensor) -> Tensor:
        """Multiply with the dense table `x` ``(m, d)``; returns ``(n, d)``."""
        self.check_rows(x)
        return cast(Tensor, _Propagate.apply(x, *self.directions()))  # type: ignore[no-untyped-call]

    def check_rows(self, x: Tensor) -> None:
        """Refuse a table of other rows: the product would read foreign memory."""
        if x.shape[0] != self.shape[1]:
            raise InputError(
                f"the table has {x.shape[0]} rows, the graph {self.shape[1]} columns: the graph "
                "is of other users or items"
            )

    def to_scipy(self) -> Sparse:
        """Return the matrix as ``scipy.sparse.csr_array``."""
        csr = self._direction("forward")
        data, columns, offsets = (t.cpu().numpy() for t in (csr.weights, csr.columns, csr.offsets))
        return sp.csr_array((data, columns, offsets), shape=self.shape)


def invert_roots(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Compute ``1 / sqrt(sums)``, and 0 for sums of 0."""
    roots = np.zeros(len(sums))
    np.power(sums, -0.5, out=roots, where=sums > 0)
    return roots


def normalize_interactions(matrix: Sparse) -> Sparse:
    """Normalize interactions symmetrically: ``D_U^-1/2 R D_I^-1/2``.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n_users, n_items)
        Interactions R.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_users, n_items)``. Rows and columns without entries stay zero.
    """
    csr = sp.csr_array(matrix)
    rows = invert_roots(np.asarray(csr.sum(axis=1)).ravel())
    columns = invert_roots(np.asarray(csr.sum(axis=0)).ravel())
    return sp.csr_array(sp.diags_array(rows) @ csr @ sp.diags_array(columns))


def build_bipartite_graph(interactions: Sparse) -> SparseGraph:
    """Build the symmetric graph of users and items over normalized interactions.

    Parameters
    ----------
    interactions : scipy.sparse.csr_array, shape (n_users, n_items)
        Interactions, not yet normalized.

    Returns
    -------
    SparseGraph
        ``(n_users + n_items, n_users + n_items)``, users first.
    """
    block = normalize_interactions(interactions)
    return SparseGraph(sp.block_array([[None, block], [block.T, None]]), symmetric=True)


class _PropagateMean(torch.autograd.Function):
    """``(x + A x + ... + A^n x) / (n + 1)``. Its gradient is the same sum over ``A.T``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Csr, transposed: Csr, n_layers: int) -> Tensor:
        ctx.save_for_backward(*transposed)
        ctx.n_layers = n_layers
        return _average_layers(matrix, x, n_layers)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _average_layers(Csr(*ctx.saved_tensors), grad, ctx.n_layers), None, None, None


def _average_layers(matrix: Csr, x: Tensor, n_layers: int) -> Tensor:
    total = x.clone()
    for _ in range(n_layers):
        x = multiply(matrix, x)
        total += x
    return total.div_(n_layers + 1)


def propagate_mean(graph: SparseGraph, x: Tensor, n_layers: int) -> Tensor:
    """Average `x` and its `n_layers` propagations over `graph` (LightGCN, equation 4)."""
    graph.check_rows(x)
    return cast(Tensor, _PropagateMean.apply(x, *graph.directions(), n_layers))  # type: ignore[no-untyped-call]


def propagate_sum(graph: SparseGraph, x: Tensor, n_layers: int) -> Tensor:
    """Add up `x` and its `n_layers` propagations over `graph`."""
    total = x
    for _ in range(n_layers):
        x = graph(x)
        total = total + x
    return total
