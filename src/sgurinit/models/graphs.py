"""Sparse graphs and propagation over them, shared by the graph models."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sgurinit.core import ItemFeatures

Sparse = Any  # SciPy's array and matrix classes share no typed base
KNN_BLOCK = 1024


class _Propagate(torch.autograd.Function):
    """``A @ x`` with gradient ``A.T @ g``; the graph itself is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (transposed,) = ctx.saved_tensors
        return transposed @ grad.contiguous(), None, None


class SparseGraph(nn.Module):
    """A constant sparse matrix that dense tables are multiplied with.

    Stored in CSR together with its transpose (the same tensor where the matrix is symmetric), so
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
        forward = _csr_tensor(matrix)
        self.register_buffer("matrix", forward, persistent=False)
        backward = forward if symmetric else _csr_tensor(matrix.T)
        self.register_buffer("transposed", backward, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Product with the dense table `x` ``(m, d)``: ``(n, d)``."""
        return cast(Tensor, _Propagate.apply(x, self.matrix, self.transposed))  # type: ignore[no-untyped-call]


def _csr_tensor(matrix: Sparse) -> Tensor:
    csr = sp.csr_array(matrix)
    csr.sort_indices()
    with warnings.catch_warnings():  # torch announces that CSR is in beta, once per process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(csr.indptr.astype(np.int64)),
            torch.from_numpy(csr.indices.astype(np.int64)),
            torch.from_numpy(csr.data.astype(np.float32)),
            size=csr.shape,
            check_invariants=False,
        )


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


def propagate_mean(graph: SparseGraph, x: Tensor, n_layers: int) -> Tensor:
    """Mean of `x` and its `n_layers` propagations over `graph` (LightGCN, eq. 4)."""
    total = x
    for _ in range(n_layers):
        x = graph(x)
        total = total + x
    return total / (n_layers + 1)


def knn_graph(features: ItemFeatures, k: int, *, weighted: bool) -> Sparse:
    """Each item's `k` nearest items by cosine, symmetrically normalised by row sums.

    An item is among its own neighbours (unless more than `k` items equal it), as in the authors'
    code of LATTICE and its successors. Similarities are computed in blocks of rows, so the dense
    items x items matrix never exists.

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
    unit = nn.functional.normalize(torch.tensor(values[present].astype(np.float32)), dim=1)
    k = min(k, len(present))
    neighbours, weights = [], []
    for block in unit.split(KNN_BLOCK):
        best = torch.topk(block @ unit.T, k, dim=1)
        neighbours.append(best.indices.numpy())
        weights.append(best.values.clamp(min=0).numpy())
    rows = np.repeat(present, k)
    columns = present[np.concatenate(neighbours).ravel()]
    data = np.concatenate(weights).ravel() if weighted else np.ones(len(rows), np.float32)
    adjacency = sp.csr_array((data, (rows, columns)), shape=(len(values), len(values)))
    root = sp.diags_array(_inverse_root(np.asarray(adjacency.sum(axis=1)).ravel()))
    return sp.csr_array(root @ adjacency @ root)


def _inverse_root(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    roots = np.zeros(len(sums))
    np.power(sums, -0.5, out=roots, where=sums > 0)
    return roots
