"""Read pickled SciPy sparse matrices without running anything that the pickle names.

A pickle is a program: it names functions and calls them. Here the few NumPy and SciPy names that a
pickled sparse matrix needs are mapped to plain records, which only store their arguments. Every
other name is refused. The matrix is then rebuilt from the records, and each value is checked. Not
even the unpickling code of NumPy or SciPy sees the file. This matters because SciPy accepts the
pickled state of a matrix unchecked, even with coordinates out of range.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sgurinit.errors import InputError

# What the unpickler raises for incomplete or invalid files.
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
)
_NUMBERS = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
_MEMO_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class _RefusedError(Exception):
    """The pickle names something that a sparse matrix does not need."""


class _Record:
    """The arguments of one pickled object. Nothing is computed while unpickling."""

    state: Any = None

    def __init__(self, *_: Any) -> None:
        """Accept any arguments."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_Record):
    """Record of ``numpy.dtype(code, align, copy)`` and its state ``(version, byteorder, ...)``."""

    code: Any = None

    def __init__(self, code: Any, *_: Any) -> None:
        super().__init__()
        self.code = code

    def resolve(self) -> np.dtype[Any]:
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "|"
        known = isinstance(self.code, str) and self.code in _NUMBERS
        if not known or order not in ("<", ">", "|", "="):
            raise InputError("holds values of a type that is not a plain number")
        return np.dtype(f"{order}{self.code}")


class _NdarrayClass(_Record):
    """Record of the class ``numpy.ndarray``, which is only named as an argument."""


class _Array(_Record):
    """Record of ``_reconstruct(ndarray, (0,), b"b")``, state (version, shape, dtype, order, raw).

    Newer files use ``_frombuffer(raw, dtype, shape, order)``, with the same values as arguments.
    """

    arguments: tuple[Any, ...] = ()

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments

    def resolve(self) -> NDArray[Any]:
        if isinstance(self.state, tuple) and len(self.state) == 5:
            _, shape, dtype, _, raw = self.state
        elif len(self.arguments) == 4:
            raw, dtype, shape, _ = self.arguments
        else:
            raise InputError("holds an array without its values")
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
            raise InputError("holds an array that is not made of numbers")
        number = dtype.resolve()
        if shape != (len(raw) // number.itemsize,) or len(raw) % number.itemsize:
            raise InputError("holds an array whose values do not fill its shape")
        return np.frombuffer(raw, dtype=number) if raw else np.empty(0, dtype=number)


class _Encode:
    """Stand-in for ``_codecs.encode``, with which old pickle protocols store bytes as text."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise pickle.UnpicklingError("text that does not encode bytes")
        return text.encode("latin1")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("bytes have no state")


class _Sparse(_Record):
    """Record of a sparse matrix. Its state holds the attributes of the matrix."""

    format: ClassVar[str]

    def attribute(self, *names: str) -> Any:
        for name in names:
            if name in self.state:
                return self.state[name]
        raise InputError(f"holds a sparse matrix without {names[0]!r}")

    def array(self, name: str) -> NDArray[Any]:
        return _resolved(self.attribute(name), name)


class _Coo(_Sparse):
    format = "coo"


class _Csr(_Sparse):
    format = "csr"


class _Csc(_Sparse):
    format = "csc"


def _allowed() -> dict[tuple[str, str], type]:
    names: dict[tuple[str, str], type] = {
        ("numpy", "dtype"): _Dtype,
        ("numpy", "ndarray"): _NdarrayClass,
        ("_codecs", "encode"): _Encode,
    }
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray", "_reconstruct"] = _Array
        names[f"{package}.numeric", "_frombuffer"] = _Array
    for record in (_Coo, _Csr, _Csc):
        for module in (f"scipy.sparse.{record.format}", f"scipy.sparse._{record.format}"):
            for kind in ("matrix", "array"):
                names[module, f"{record.format}_{kind}"] = record
    return names


_ALLOWED = _allowed()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _RefusedError(repr(f"{module}.{name}"[:80])) from None


def read_sparse(path: Path) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64]]:
    """Read the nonzero coordinates of a pickled SciPy sparse matrix.

    Parameters
    ----------
    path : Path
        Pickle (protocol 2 or later) of a coo, csr or csc matrix or array, as written by any SciPy
        with NumPy 1 or 2.

    Returns
    -------
    shape : tuple of int
        ``(n_rows, n_columns)``.
    rows, columns : ndarray of int64, shape (n,)
        Coordinates of the stored values other than zero, in stored order, all in range.

    Raises
    ------
    InputError
        If the file is missing or incomplete, names anything that a sparse matrix does not need, or
        is not a 2-D matrix of non-negative numbers with all coordinates in range.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        _check_memo(raw)
        found = _Unpickler(io.BytesIO(raw)).load()
    except _RefusedError as error:
        raise InputError(
            f"{path}: refused, because the pickle names {error}, which a sparse matrix does not "
            "need; save the interactions as a scipy.sparse.coo_matrix"
        ) from None
    except _BROKEN as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: not a complete pickle of a sparse matrix ({detail}); get the file again"
        ) from error
    if not isinstance(found, _Sparse) or not isinstance(found.state, dict):
        raise InputError(f"{path}: not a scipy.sparse matrix (coo, csr or csc); save it as one")
    try:
        return _coordinates(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_memo(raw: bytes) -> None:
    """Refuse implausibly large memo numbers: memory is allocated for all smaller ones."""
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name in _MEMO_PUTS and argument is not None and argument > len(raw):
            raise pickle.UnpicklingError(f"memo number {argument}")


def _coordinates(found: _Sparse) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64]]:
    shape = _shape(found.attribute("_shape", "shape"))
    values = found.array("data")
    if found.format == "coo":
        rows, columns = _coo_coordinates(found)
    else:
        by_row = found.format == "csr"
        major, minor = _compressed_coordinates(found, shape[0] if by_row else shape[1])
        rows, columns = (major, minor) if by_row else (minor, major)
    if not rows.size == columns.size == values.size:
        raise InputError(
            f"{values.size} values, {rows.size} rows and {columns.size} columns; one of each is "
            "needed for every entry"
        )
    for what, index, count in (("user", rows, shape[0]), ("item", columns, shape[1])):
        wrong = (index < 0) | (index >= count)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"entry {at}: {what} id {index[at]} is out of range; allowed are 0 to {count - 1}"
            )
    unusable = ~(values >= 0)
    if unusable.any():
        at = int(np.argmax(unusable))
        raise InputError(
            f"entry {at}: value {values[at]} (user {rows[at]}, item {columns[at]}); values must be "
            "0 or positive"
        )
    stored = values != 0
    return shape, rows[stored].astype(np.int64), columns[stored].astype(np.int64)


def _shape(shape: Any) -> tuple[int, int]:
    if (
        not isinstance(shape, tuple)
        or len(shape) != 2
        or not all(type(n) is int and 0 < n < 2**31 for n in shape)
    ):
        raise InputError("not of two dimensions; a matrix users x items is expected")
    return shape


def _coo_coordinates(found: _Sparse) -> tuple[NDArray[Any], NDArray[Any]]:
    if "coords" not in found.state:  # SciPy before 1.13
        return _index(found.attribute("row"), "row"), _index(found.attribute("col"), "col")
    coords = found.state["coords"]
    if not isinstance(coords, tuple) or len(coords) != 2:
        raise InputError("holds a sparse matrix whose 'coords' are not two arrays")
    return _index(coords[0], "row"), _index(coords[1], "col")


def _compressed_coordinates(found: _Sparse, n_major: int) -> tuple[NDArray[Any], NDArray[Any]]:
    pointers = _index(found.attribute("indptr"), "indptr").astype(np.int64)
    minor = _index(found.attribute("indices"), "indices")
    counts = np.diff(pointers)
    ends_fit = pointers.size == n_major + 1 and pointers[0] == 0 and pointers[-1] == minor.size
    if not ends_fit or (counts < 0).any():
        raise InputError(f"'indptr' does not split {minor.size} entries into {n_major} parts")
    return np.repeat(np.arange(n_major), counts), minor


def _index(value: Any, name: str) -> NDArray[Any]:
    array = _resolved(value, name)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name!r} holds {array.dtype}, integers are expected")
    return array


def _resolved(value: Any, name: str) -> NDArray[Any]:
    if not isinstance(value, _Array):
        raise InputError(f"holds a sparse matrix whose {name!r} is not an array")
    return value.resolve()
