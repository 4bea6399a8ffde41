"""Compressed sparse rows as tensors, and their product with a dense table."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional

Sparse = Any  # SciPy's array and matrix classes share no typed base


class Csr(NamedTuple):
    """A sparse matrix by rows: entries ``offsets[r]:offsets[r + 1]`` belong to row r.

    Attributes
    ----------
    offsets : Tensor
        ``(n + 1,)`` integers.
    columns : Tensor
        ``(nnz,)`` column of each entry.
    weights : Tensor
        ``(nnz,)`` value of each entry.
    """

    offsets: Tensor
    columns: Tensor
    weights: Tensor


def to_csr(matrix: Sparse) -> Csr:
    """Convert a SciPy sparse matrix. Weights become float32, duplicate entries are summed."""
    csr = sp.csr_array(matrix)
    csr.sum_duplicates()
    # 32-bit indices take half the memory, if the number of entries allows them.
    integer = np.int32 if max(csr.nnz, *csr.shape) <= np.iinfo(np.int32).max else np.int64
    return Csr(
        torch.from_numpy(csr.indptr.astype(integer)),
        torch.from_numpy(csr.indices.astype(integer)),
        torch.from_numpy(csr.data.astype(np.float32)),
    )


def find_offsets(ascending: Tensor, n_rows: int) -> Tensor:
    """Find where each row's entries begin, and after them the end, in the entries' sorted rows."""
    return torch.searchsorted(ascending, torch.arange(n_rows + 1, device=ascending.device))


def multiply(matrix: Csr, x: Tensor) -> Tensor:
    """Multiply a sparse matrix ``(n, m)`` with the dense table `x` ``(m, d)``.

    On a CUDA device by `multiply_by_entries`, elsewhere by `multiply_by_rows`: on CPUs that is
    several times faster. ``benchmarks/spmm.py`` measures both.
    """
    return multiply_by_entries(matrix, x) if x.is_cuda else multiply_by_rows(matrix, x)


def multiply_by_rows(matrix: Csr, x: Tensor) -> Tensor:
    """Multiply row by row, as an embedding bag: a weighted sum of looked-up rows of `x`."""
    return functional.embedding_bag(
        matrix.columns,
        x.contiguous(),
        matrix.offsets,
        mode="sum",
        per_sample_weights=matrix.weights.to(x.dtype),
        include_last_offset=True,
    )


def multiply_by_entries(matrix: Csr, x: Tensor) -> Tensor:
    """Multiply by torch's product of sparse rows, on CUDA devices that of cuSPARSE.

    It divides the entries, not the rows, among the threads, so that no thread has a popular item's
    whole row.
    """
    # Mixed precision would multiply in another precision than that of `x`.
    with torch.autocast(x.device.type, enabled=False):
        product: Tensor = as_sparse_tensor(matrix, x.shape[0], x.dtype) @ x.contiguous()
    return product


def as_sparse_tensor(matrix: Csr, n_columns: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix as one of torch's sparse tensors, which shares its memory."""
    with warnings.catch_warnings():  # torch warns once per process that CSR is in beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            matrix.offsets,
            matrix.columns,
            matrix.weights.to(dtype),
            size=(len(matrix.offsets) - 1, n_columns),
            check_invariants=False,
        )
