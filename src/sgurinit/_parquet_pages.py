"""Check the headers of Parquet pages, before a reader that ends the process where they are damaged.

The readers of polars reserve memory for as many values as a header says. If that fails, the process
ends. Here every header is compared with what the file can hold. The layout is that of
https://github.com/apache/parquet-format, with Thrift's compact encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import index
from pathlib import Path
from typing import IO, Any, NamedTuple

from sgurinit.errors import InputError

_MAGIC = b"PAR1"
_END_BYTES = 8  # the length of the footer, and the magic number
# Rows that a file can have: a few for every byte, and some for free.
_ROWS_PER_BYTE, _SPARE_ROWS = 100, 1 << 24
_MOST_DEPTH = 16
_MOST_BYTES = 1 << 24  # of a text in a header
_DATA, _INDEX, _DICTIONARY, _DATA_2 = 5, 6, 7, 8  # fields of a header by the type of its page

Struct = dict[int, Any]


class _DamagedError(Exception):
    """Bytes that are not what the format says."""


def check_pages(path: Path) -> None:
    """Check the headers of all pages of a Parquet file.

    What is not Parquet at all is left to the reader.

    Raises
    ------
    InputError
        A header is damaged, or the file claims more rows than it can hold.
    """
    try:
        stat = path.stat()
    except OSError:
        return
    _check(path, stat.st_mtime_ns, stat.st_size)


class _Column(NamedTuple):
    """A column of a group of rows: its name, number of values, and the place of its pages."""

    name: str
    n_values: int
    first_byte: int


@lru_cache(maxsize=64)
def _check(path: Path, _: int, size: int) -> None:
    with path.open("rb") as file:
        for column in _read_columns(file, size):
            if not 0 <= column.n_values <= _ROWS_PER_BYTE * size + _SPARE_ROWS:
                raise InputError(
                    f"{path}: column {column.name!r} claims {column.n_values:,} values, but a file "
                    f"of {size:,} bytes can hold few of them; write it again"
                )
            try:
                _check_chunk(file, column, size)
            except _DamagedError as error:
                raise InputError(
                    f"{path}: column {column.name!r}: {error}; the file is damaged, get it again"
                ) from None


def _read_columns(file: IO[bytes], size: int) -> list[_Column]:
    """Read the columns of every group of rows; none if the footer cannot be read."""
    file.seek(max(0, size - _END_BYTES))
    end = file.read()
    start = size - _END_BYTES - int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or start < 0:
        return []
    file.seek(start)
    try:
        footer = _read_struct(file)
        chunks = [chunk for group in footer[4] for chunk in group[1]]
        found = [chunk[3] for chunk in chunks if 3 in chunk and 8 not in chunk]  # not encrypted
        return [
            _Column(
                b".".join(column[3]).decode(errors="replace"),
                index(column[5]),
                min(index(column[9]), index(column.get(11) or column[9])),
            )
            for column in found
        ]
    except (_DamagedError, LookupError, TypeError, AttributeError):
        return []


def _check_chunk(file: IO[bytes], column: _Column, size: int) -> None:
    """Check the headers of the pages of a column, until they have all of its values."""
    at, left = column.first_byte, column.n_values
    while left > 0:
        if not 0 <= at < size:
            raise _DamagedError(f"a page begins at byte {at:,} of {size:,}")
        file.seek(at)
        try:
            header = _read_struct(file)
            n_bytes, n_packed = index(header[2]), index(header[3])
            kind = next(field for field in (_DATA, _DATA_2, _DICTIONARY, _INDEX) if field in header)
            n_values = index(header[kind].get(1, 0))
        except (_DamagedError, LookupError, TypeError, AttributeError, StopIteration):
            raise _DamagedError(f"the page at byte {at:,} has no header") from None
        # Each entry of a dictionary takes a byte at least.
        most = n_bytes if kind == _DICTIONARY else left
        if not (0 <= n_values <= most and n_bytes >= 0 and 0 <= n_packed <= size - at):
            raise _DamagedError(f"the page at byte {at:,} claims {n_values:,} values")
        if kind in (_DATA, _DATA_2):
            left -= n_values
        at = file.tell() + n_packed


def _read_struct(data: IO[bytes], depth: int = 0) -> Struct:
    """Read a struct in Thrift's compact encoding, as values by the number of the field."""
    fields: Struct = {}
    number = 0
    while kind := _read_byte(data):
        step = kind >> 4
        number = number + step if step else _read_signed(data)
        fields[number] = _read_value(data, kind & 15, depth + 1, in_struct=True)
    return fields


def _read_value(data: IO[bytes], kind: int, depth: int, *, in_struct: bool = False) -> Any:
    if depth > _MOST_DEPTH:
        raise _DamagedError
    if kind in _PLAIN:
        return _PLAIN[kind](data)
    if kind in (1, 2):
        return kind == 1 if in_struct else _read_byte(data) == 1
    if kind in (9, 10):
        first = _read_byte(data)
        count = first >> 4 if first >> 4 < 15 else _read_varint(data)
        return [_read_value(data, first & 15, depth + 1) for _ in range(count)]
    if kind == 12:
        return _read_struct(data, depth)
    raise _DamagedError  # maps do not occur


def _read_signed(data: IO[bytes]) -> int:
    value = _read_varint(data)
    return (value >> 1) ^ -(value & 1)


def _read_varint(data: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _read_byte(data)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise _DamagedError


def _read_byte(data: IO[bytes]) -> int:
    return _read_bytes(data, 1)[0]


def _read_bytes(data: IO[bytes], count: int) -> bytes:
    found = data.read(min(count, _MOST_BYTES))
    if len(found) < count:
        raise _DamagedError
    return found


# How the types without parts are read, by their number.
_PLAIN: dict[int, Callable[[IO[bytes]], Any]] = {
    3: _read_byte,
    **dict.fromkeys((4, 5, 6), _read_signed),
    7: lambda data: _read_bytes(data, 8),
    8: lambda data: _read_bytes(data, _read_varint(data)),
}
