"""Compressed sparse rows as tensors, and their product with a dense table."""

from __future__ import annotations

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


def multiply(matrix: Csr, x: Tensor) -> Tensor:
    """Multiply a sparse matrix ``(n, m)`` with the dense table `x` ``(m, d)``."""
    # This is a weighted sum of looked-up rows, which is what an embedding bag computes. On CPUs,
    # torch's kernel for embedding bags is several times faster than its CSR product.
    return functional.embedding_bag(
        matrix.columns,
        x.contiguous(),
        matrix.offsets,
        mode="sum",
        per_sample_weights=matrix.weights.to(x.dtype),
        include_last_offset=True,
    )
