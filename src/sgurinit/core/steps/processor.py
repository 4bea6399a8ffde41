"""What computes: NumPy and SciPy here, torch on another device in `_on_device`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import FloatArray, LabelArray
from sgurinit.core.inputs.features import iter_row_slices

# An array of a processor: NumPy's or torch's.
Own = Any


class Processor:
    """NumPy and SciPy, and the operations that another processor does differently.

    The steps of the method compute with arrays of a processor's own. They put arrays in and get
    arrays out, some rows at a time. Functions that NumPy and torch share are called by `xp`. Here
    NumPy's arrays are the processor's own, so nothing is copied.
    """

    xp: ModuleType = np
    # Precision of the products that choose the nearest of several rows.
    nearest_precision: type[np.floating] = np.float32

    def put(self, array: Any, dtype: type[np.floating] | None = None) -> Own:
        """Turn an array into one of the processor's own, converted to `dtype` where it is given."""
        return array if dtype is None else np.asarray(array, dtype=dtype)

    def get(self, array: Own) -> Any:
        """Turn an array of the processor's own into NumPy's."""
        return array

    def hold(self, rows: FloatArray) -> Own:
        """Put a table that is read several times, if it leaves enough memory."""
        return rows

    def put_sparse(self, matrix: sp.csr_array) -> Own:
        """Put a sparse matrix, which can be multiplied by a table and has its transpose as `T`."""
        return matrix

    def lay_out(self, block: Own) -> Own:
        """Lay out a block by rows."""
        return np.ascontiguousarray(block)

    def count_threads(self, n_jobs: int | None) -> int | None:
        """Return the number of threads that may use the processor at the same time."""
        return n_jobs

    def choose_table_bytes(self, usual: int) -> int:
        """Return the size of a table that many blocks are computed from."""
        return usual

    def choose_block_bytes(self, usual: int) -> int:
        """Return the size of a block."""
        return usual

    def iter_slices(
        self,
        rows: Any,
        *,
        beside: int = 0,  # noqa: ARG002 - NumPy's blocks have their size from a core's cache
        usual: int = 0,
    ) -> Iterator[slice]:
        """Yield slices of rows for blocks that fit, with `beside` more numbers per row.

        NumPy takes `usual` rows at a time where that is given.
        """
        if not usual:
            return iter_row_slices(rows)
        return (slice(first, first + usual) for first in range(0, len(rows), usual))

    def map_rows(self, function: Callable[..., Own], *tables: FloatArray) -> FloatArray:
        """Apply a function to tables, of which each row of the result needs the same row only."""
        rows: FloatArray = function(*tables)
        return rows

    def sum_rows(self, function: Callable[..., Own], *tables: FloatArray) -> FloatArray:
        """Apply a function to tables that sums over their rows."""
        total: FloatArray = function(*tables)
        return total

    def find_basis(self, rows: FloatArray) -> FloatArray:
        """Find an orthonormal basis of the columns: Q of a QR decomposition."""
        return np.linalg.qr(rows)[0]

    def sum_groups(self, block: Own, labels: LabelArray, n_groups: int) -> Own:
        """Sum the rows of each group, shape (n_groups, d)."""
        members = (np.ones(len(block), block.dtype), (labels, np.arange(len(block))))
        return sp.csr_array(members, shape=(n_groups, len(block))) @ block

    def find_kth(self, values: Own, k: int) -> Own:
        """Find the k-th largest value of every row, shape (n, 1)."""
        return np.partition(values, -k, axis=1)[:, -k, None]

    def explain_memory(self) -> AbstractContextManager[None]:
        """Context manager: raise an `InputError` where the processor lacks memory."""
        return nullcontext()


NUMPY = Processor()
"""The processor that every step uses by default."""


def multiply_rows(processor: Processor, rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """Multiply a tall table by a small matrix, shape (n, k)."""
    small = processor.put(matrix)
    return processor.map_rows(lambda part: part @ small, rows)


def multiply_columns(processor: Processor, left: FloatArray, right: FloatArray) -> FloatArray:
    """Multiply the columns of two tall tables, shape (d_left, d_right)."""
    return processor.sum_rows(lambda one, other: one.T @ other, left, right)
