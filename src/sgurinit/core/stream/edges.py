"""Interactions read in chunks from Parquet files or from an edge list on disk."""

from __future__ import annotations

import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.core.inputs.ids import find_positions, name_kind
from sgurinit.core.stream.id_columns import parse_ids
from sgurinit.errors import InputError
from sgurinit.files import READ_ERRORS, scan_parquet

# Interactions read at a time.
_CHUNK_ROWS = 1 << 22

# Users that a bucket's file can number.
_MAX_POSITIONS = 1 << 31

# A stray large position of a user would cost memory for all below it.
_USERS_PER_ROW = 1000

_COLUMNS = ("user", "item")

UNREADABLE = (
    *READ_ERRORS,
    *(ValueError, EOFError, TypeError, SyntaxError, OverflowError, tokenize.TokenError),
)
"""What readers raise for files that are damaged or of another format."""


@dataclass(frozen=True)
class Place:
    """Where a chunk comes from, for error messages.

    Parameters
    ----------
    file : Path
        The file.
    first : int
        Row of the file that the chunk begins with.
    """

    file: Path
    first: int = 0

    def name_row(self, row: int) -> str:
        """Return the file and the row of it that is `row` of the chunk."""
        return f"{self.file}, row {self.first + row}"


@dataclass(frozen=True)
class EdgeFiles:
    """Files that hold pairs of user and item.

    Parameters
    ----------
    files : tuple of Path
        Parquet files, or one ``.npy`` edge list of integers, shape (n, 2).
    columns : (str, str), default ("user", "item")
        Columns of the Parquet files with the users and with the items.
    """

    files: tuple[Path, ...]
    columns: tuple[str, str] = _COLUMNS

    @classmethod
    def find(
        cls, source: str | Path | Sequence[str | Path], columns: tuple[str, str] = _COLUMNS
    ) -> EdgeFiles:
        """Find and check the files.

        Parameters
        ----------
        source : path or sequence of paths
            Files, folders of Parquet files, or patterns such as ``logs/*.parquet``.
        columns : (str, str), default ("user", "item")
            Columns with the users and with the items.

        Raises
        ------
        InputError
            No file matches, a file is neither Parquet nor an edge list, or `source` is not a path.
        """
        files = [file for place in _as_paths(source) for file in _find_files(place)]
        if not files:
            raise InputError("interactions: no file is given")
        if len(files) > 1 and any(file.suffix == ".npy" for file in files):
            raise InputError(
                "interactions: an .npy edge list must be the only file; give one, or Parquet files"
            )
        edges = cls(tuple(files), columns)
        edges.count_rows()
        return edges

    def count_rows(self) -> int:
        """Count the rows of all files, duplicates included."""
        return sum(_count_rows(file, self.columns) for file in self.files)

    def count_positions(self) -> int:
        """Return the largest number of users that positions may tell apart."""
        return min(_MAX_POSITIONS, _USERS_PER_ROW * max(self.count_rows(), 1))

    def describe(self) -> list[dict[str, Any]]:
        """Return what tells the files from other files of the same names."""
        states = [(file, file.stat()) for file in self.files]
        return [
            {
                "file": str(file.resolve()),
                "columns": list(self.columns),
                "bytes": state.st_size,
                "changed": state.st_mtime_ns,
            }
            for file, state in states
        ]

    def read_chunks(self) -> Iterator[tuple[pl.Series, pl.Series, Place]]:
        """Yield users, items and their place for error messages, `_CHUNK_ROWS` at a time."""
        for file in self.files:
            for first in range(0, _count_rows(file, self.columns), _CHUNK_ROWS):
                table = _read_chunk(file, first, self.columns)
                users, items = (_check_no_nulls(column, file, first) for column in table)
                yield users, items, Place(file, first)


def check_positions(values: pl.Series, place: Place, limit: int) -> IntArray:
    """Return positions as int64 after checking that they are at least 0 and below `limit`.

    Raises
    ------
    InputError
        A value is not such a position; the message names the row.
    """
    if not values.dtype.is_integer():
        raise InputError(
            f"{place.file}: column {values.name!r} holds {values.dtype}, expected integer "
            "positions; for external ids give the ids of the items as `item_ids`"
        )
    found = parse_ids(values, place.file, place.name_row).to_numpy()
    outside = (found < 0) | (found >= limit)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"{place.name_row(row)}: column {values.name!r} has position {found[row]}, expected 0 "
            f"to {limit - 1}; for external ids give the ids of the items as `item_ids`"
        )
    return found


def look_up_positions(values: pl.Series, known: IdArray, order: IntArray, place: Place) -> IntArray:
    """Look up the position of every item id among the known ones, which `order` sorts.

    Raises
    ------
    InputError
        An id is unknown or of another kind than the known ones; the message names the row.
    """
    ids = convert_ids(values, place)
    if ids.dtype.kind != known.dtype.kind:
        raise InputError(
            f"{place.file}: column {values.name!r} holds {name_kind(ids)}, the known ids are "
            f"{name_kind(known)}: use one kind"
        )
    found, unknown = find_positions(ids, known, order)
    if unknown is not None:
        n_unknown = len(np.setdiff1d(ids, known))
        raise InputError(
            f"{place.name_row(unknown)}: column {values.name!r} has {ids[unknown].item()!r}, which "
            f"is not among the known ids: {n_unknown:,} item ids in the {len(ids):,} rows read "
            f"have no vector; where features are Parquet files, give `item_ids` {place.file}, "
            "otherwise add the items to features and `item_ids`, or drop such rows"
        )
    return found


def convert_ids(values: pl.Series, place: Place) -> IdArray:
    """Return external ids as an array of int64 or of strings.

    Raises
    ------
    InputError
        The column holds neither integers nor strings, or a value that cannot be an id, see
        `parse_ids`; the message names the row.
    """
    ids = parse_ids(values, place.file, place.name_row).to_numpy()
    return ids if ids.dtype.kind == "i" else ids.astype(np.str_)


def _as_paths(source: Any) -> list[Path]:
    given = [source] if isinstance(source, str | PathLike) else source
    try:
        if isinstance(given, Mapping) or hasattr(given, "columns"):  # iterates over names
            raise TypeError
        return [Path(one) for one in given]
    except TypeError:
        raise InputError(
            "interactions: expected a path or a list of paths, got "
            f"{type(source).__name__}; for interactions in memory use `fit`"
        ) from None


def _find_files(place: Path) -> list[Path]:
    if place.is_dir():
        found = sorted(place.glob("*.parquet"))
        if not found:
            raise InputError(f"{place}: no .parquet file in this folder")
        return found
    if place.is_file():
        return [place]
    if place.exists():
        raise InputError(f"{place}: not a file but a pipe or a device; give a file")
    found = sorted(Path(name) for name in glob(str(place)))  # noqa: PTH207 - any pattern
    files = [path for path in found if path.is_file()]
    if len(files) < len(found) or not files:
        missing = next((path for path in found if path not in files), place)
        raise InputError(f"{missing}: no such file")
    return files


def _count_rows(file: Path, columns: tuple[str, str]) -> int:
    try:
        if file.suffix == ".npy":
            return len(_open_edge_list(file))
        schema = scan_parquet(file)
        names = schema.collect_schema().names()
        for at, (what, name) in enumerate(zip(_COLUMNS, columns, strict=True)):
            if name not in names:
                raise InputError(
                    f"{file}: has no column {name!r}, it has {', '.join(names)}; name the one with "
                    f"the {what}s as `columns[{at}]`"
                )
        return int(schema.select(pl.len()).collect().item())
    except InputError:
        raise
    except UNREADABLE as error:
        detail = " ".join(str(error).split())
        raise InputError(
            f"{file}: expected a Parquet file, or an .npy edge list ({detail}); `sgurinit prepare` "
            "also reads text"
        ) from None


def _open_edge_list(file: Path) -> np.ndarray[Any, Any]:
    edges = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(edges, np.ndarray):
        edges.close()
        raise InputError(f"{file}: is an archive of arrays, expected one .npy array")
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise InputError(
            f"{file}: expected integers of shape (n, 2), found {edges.dtype} of {edges.shape}"
        )
    return np.asanyarray(edges)


def _read_chunk(file: Path, first: int, columns: tuple[str, str]) -> pl.DataFrame:
    if file.suffix == ".npy":
        part = np.array(_open_edge_list(file)[first : first + _CHUNK_ROWS])
        return pl.DataFrame(dict(zip(_COLUMNS, part.T, strict=True)))
    rows = scan_parquet(file).select(columns).slice(first, _CHUNK_ROWS)
    try:
        return rows.collect()
    except UNREADABLE as error:
        detail = " ".join(str(error).split())
        raise InputError(
            f"{file}: cannot be read from row {first} on ({detail}); get the file again"
        ) from None


def _check_no_nulls(values: pl.Series, file: Path, first: int) -> pl.Series:
    if values.null_count():
        row = first + int(values.is_null().arg_max() or 0)
        raise InputError(f"{file}, row {row}: column {values.name!r} is empty; drop such rows")
    return values
