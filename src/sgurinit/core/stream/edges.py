"""Interactions that are read a piece at a time: Parquet files, an edge list on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.errors import InputError

# Interactions at a time.
CHUNK = 1 << 22

# Positions that a file of pairs can hold.
_MOST = 1 << 31

COLUMNS = ("user", "item")


@dataclass(frozen=True)
class Edges:
    """Pairs of user and item, as they lie on disk.

    Parameters
    ----------
    files : tuple of Path
        Parquet files; or one ``.npy`` edge list, integers of shape (n, 2).
    columns : (str, str)
        Columns of the Parquet files with the users and with the items.
    """

    files: tuple[Path, ...]
    columns: tuple[str, str] = COLUMNS

    @classmethod
    def find(
        cls, source: str | Path | Sequence[str | Path], columns: tuple[str, str] = COLUMNS
    ) -> Edges:
        """Find the files that are meant.

        Parameters
        ----------
        source : path or sequence of paths
            Files, folders of Parquet files, or patterns such as ``logs/*.parquet``.
        columns : (str, str)
            Columns with the users and with the items.

        Raises
        ------
        InputError
            Nothing is there, or a file is neither Parquet nor an edge list.
        """
        given = [source] if isinstance(source, str | Path) else list(source)
        files = [file for one in given for file in _files(Path(one))]
        if not files:
            raise InputError("interactions: no file is given")
        if len(files) > 1 and any(file.suffix == ".npy" for file in files):
            raise InputError("interactions: an .npy edge list stands alone; give it, or Parquet")
        edges = cls(tuple(files), columns)
        edges.count()
        return edges

    def count(self) -> int:
        """Number of rows, duplicates included."""
        return sum(_rows(file, self.columns) for file in self.files)

    def facts(self) -> list[dict[str, Any]]:
        """Tell the files apart from others of the same names."""
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

    def chunks(self) -> Iterator[tuple[pl.Series, pl.Series, str]]:
        """Yield users, items and where they stand, at most `CHUNK` at a time."""
        for file in self.files:
            for first in range(0, _rows(file, self.columns), CHUNK):
                table = _chunk(file, first, self.columns)
                users, items = (_checked(column, file, first) for column in table)
                yield users, items, f"{file}, from row {first}" if first else str(file)


def positions(values: pl.Series, place: str, limit: int | None) -> IntArray:
    """Positions from 0 to below `limit`, or to below `_MOST`, checked."""
    if not values.dtype.is_integer():
        raise InputError(
            f"{place}: column {values.name!r} holds {values.dtype}, expected integer positions; "
            "for external ids give the ids of the items"
        )
    found = values.to_numpy().astype(np.int64, copy=False)
    limit = _MOST if limit is None else limit
    outside = (found < 0) | (found >= limit)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"{place}: row {row} of it has {values.name} position {found[row]}, expected 0 to "
            f"{limit - 1}; for external ids give the ids of the items"
        )
    return found


def places(values: pl.Series, known: IdArray, order: IntArray, place: str) -> IntArray:
    """Position of every id among the known ones, whose sorted order is given."""
    ids = _as_kind(values, known, place)
    at = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    found: IntArray = order[at]
    unknown = known[found] != ids
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(
            f"{place}: row {row} of it has {values.name} {ids[row].item()!r}, which is not among "
            f"the known ids; drop such rows, give the {values.name} its features, or name all of "
            "them as `item_ids` (where features are Parquet files, the log itself does)"
        )
    return found


def ids_of(values: pl.Series, place: str) -> IdArray:
    """External ids as integers or strings."""
    if values.dtype.is_integer():
        return values.to_numpy().astype(np.int64, copy=False)
    if values.dtype in {pl.String, pl.Categorical} or isinstance(values.dtype, pl.Enum):
        return values.cast(pl.String).to_numpy().astype(np.str_)
    raise InputError(
        f"{place}: column {values.name!r} holds {values.dtype}, expected integers or strings"
    )


def _as_kind(values: pl.Series, known: IdArray, place: str) -> IdArray:
    ids = ids_of(values, place)
    if ids.dtype.kind != known.dtype.kind:
        kinds = {"U": "strings"}
        raise InputError(
            f"{place}: column {values.name!r} holds {kinds.get(ids.dtype.kind, 'integers')}, the "
            f"known ids are {kinds.get(known.dtype.kind, 'integers')}: use one kind"
        )
    return ids


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        found = sorted(place.glob("*.parquet"))
        if not found:
            raise InputError(f"{place}: no .parquet file in this folder")
        return found
    if place.is_file():
        return [place]
    found = sorted(Path(name) for name in glob(str(place)))  # noqa: PTH207 - any pattern
    if not found:
        raise InputError(f"{place}: no such file")
    return found


def _rows(file: Path, columns: tuple[str, str]) -> int:
    try:
        if file.suffix == ".npy":
            return len(_edge_list(file))
        schema = pl.scan_parquet(file)
        names = schema.collect_schema().names()
        for at, (what, name) in enumerate(zip(COLUMNS, columns, strict=True)):
            if name not in names:
                raise InputError(
                    f"{file}: has no column {name!r}, it has {', '.join(names)}; name the one with "
                    f"the {what}s as `columns[{at}]`"
                )
        return int(schema.select(pl.len()).collect().item())
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file}: expected a Parquet file, or an .npy edge list ({error}); `sgurinit prepare` "
            "reads text as well"
        ) from None


def _edge_list(file: Path) -> np.ndarray[Any, Any]:
    edges = np.load(file, mmap_mode="r", allow_pickle=False)
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise InputError(
            f"{file}: expected integers of shape (n, 2), found {edges.dtype} of {edges.shape}"
        )
    return np.asanyarray(edges)


def _chunk(file: Path, first: int, columns: tuple[str, str]) -> pl.DataFrame:
    if file.suffix == ".npy":
        part = np.array(_edge_list(file)[first : first + CHUNK])
        return pl.DataFrame(dict(zip(COLUMNS, part.T, strict=True)))
    return pl.scan_parquet(file).select(columns).slice(first, CHUNK).collect()


def _checked(values: pl.Series, file: Path, first: int) -> pl.Series:
    if values.null_count():
        row = first + int(values.is_null().arg_max() or 0)
        raise InputError(f"{file}: row {row} has no {values.name}; drop such rows")
    return values
