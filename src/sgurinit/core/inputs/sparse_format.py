"""The check of sparse matrices that others made, without which faulty ones corrupt memory."""

from __future__ import annotations

from typing import Any


def check_format(matrix: Any) -> None:
    """Check the pointers and indices of a matrix by rows, columns or blocks.

    SciPy's own check takes differences of the pointers, which can wrap around.

    Parameters
    ----------
    matrix : scipy.sparse matrix or array
        In the format csr, csc or bsr.

    Raises
    ------
    ValueError
        A pointer or an index is outside.
    """
    pointers = matrix.indptr
    if len(pointers) and not 0 <= pointers.min() <= pointers.max() <= len(matrix.indices):
        raise ValueError("a pointer is outside of the entries")
    matrix.check_format(full_check=True)
