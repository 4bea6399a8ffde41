"""Conversions between Arrow columns and NumPy arrays, and sums of rows by id.

Between stages, vectors travel as *packed* columns: the bytes of each row in a binary value. Spark
copies these much faster than lists of numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

Array = np.ndarray[Any, Any]
ArrowBatch = Any  # a pyarrow.RecordBatch; PyArrow has no type annotations


def read_lists(column: Any) -> tuple[Array, Array]:
    """Read a column of lists of equal length.

    Returns
    -------
    rows : ndarray, shape (n_present, d)
        The lists that are not null.
    present : ndarray of bool, shape (n,)
        Which entries of the column are not null.
    """
    present = np.asarray(column.is_valid())
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(int(present.sum()), -1) if len(flat) else flat.reshape(0, 0), present


def make_lists(rows: Array) -> Any:
    """Make a column of lists from rows of shape (n, d)."""
    n_rows, width = rows.shape
    offsets = np.arange(n_rows + 1, dtype=np.int32) * np.int32(width)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))


def unpack(column: Any, dtype: str) -> tuple[Array, Array]:
    """Read a column of packed rows.

    Returns
    -------
    rows : ndarray of `dtype`, shape (n_present, d)
        The rows that are not null.
    present : ndarray of bool, shape (n,)
        Which entries of the column are not null.
    """
    present = np.asarray(column.is_valid())
    column = column.filter(column.is_valid())
    _, offsets, data = column.buffers()
    if len(column) == 0:
        return np.zeros((0, 0), dtype=dtype), present
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    flat = np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[-1]].view(dtype)
    return flat.reshape(len(column), -1), present


def pack(rows: Array) -> Any:
    """Make a column of packed rows from rows of shape (n, d)."""
    n_rows, width = rows.shape
    offsets = np.arange(n_rows + 1, dtype=np.int32) * np.int32(width * rows.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.Array.from_buffers(pa.binary(), n_rows, buffers)


def make_batch(**columns: Any) -> ArrowBatch:
    """Make a batch of these columns."""
    return pa.RecordBatch.from_pydict(columns)


def set_column(batch: ArrowBatch, name: str, column: Any) -> ArrowBatch:
    """Return a copy of the batch in which the column of this name is added or replaced."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {name: column}
    return pa.RecordBatch.from_pydict(columns)


def group_ids(column: Any) -> tuple[Any, Array]:
    """Return the distinct ids in the order of first appearance, and each row's index into them."""
    encoded = column.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy()


def sum_groups(groups: Array, n_groups: int, rows: Array) -> Array:
    """Sum the rows of each group, shape (n_groups, d); `groups` holds each row's group."""
    shape = (n_groups, len(groups))
    membership = sp.csr_array((np.ones(len(groups)), (groups, np.arange(len(groups)))), shape=shape)
    return np.asarray(membership @ rows)
