"""Vectors that are there already, joined to items by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.layouts.arrays import read_array
from sgurinit.errors import InputError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_vectors(path: Path, ids: Path | None) -> tuple[list[str], NDArray[Any]]:
    """Read vectors and the ids that they belong to.

    Parameters
    ----------
    path : Path
        Parquet, CSV or TSV with a column ``item`` and numbers in the others, or in one of lists;
        or ``.npy`` of shape (n, d).
    ids : Path, optional
        Of a ``.npy`` file: text, the id of each row.

    Returns
    -------
    list of str
        Ids, each once.
    ndarray, shape (n, d)
        Floats; a row of NaN alone is none.

    Raises
    ------
    InputError
        If a file is at fault, an id comes twice, or a number is not finite.
    """
    if (path.suffix == ".npy") != (ids is not None):
        raise InputError(
            f"{path}: --ids goes with a .npy file: text with the item id of each row, a line each; "
            "other files have a column item"
        )
    if ids is not None:
        known, values = _lines(ids), read_array(path)
        if len(known) != len(values):
            raise InputError(f"{ids}: {len(known)} ids but {path.name} has {len(values)} rows")
    else:
        known, values = _table(path)
    column = pl.Series(known, dtype=pl.String)
    twice = column.is_duplicated()
    if twice.any():
        raise InputError(
            f"{ids or path}: item {column.filter(twice)[0]!r} comes twice; once is expected"
        )
    broken = ~np.isfinite(values).all(axis=1) & ~np.isnan(values).all(axis=1)
    if broken.any():
        item = known[int(broken.argmax())]
        raise InputError(
            f"{path}: the vector of item {item!r} has numbers that are not finite; a vector of NaN "
            "alone marks an item without any"
        )
    return known, values


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file with an id per line ({error})") from None


def _table(path: Path) -> tuple[list[str], NDArray[Any]]:
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path, glob=False)
        elif path.suffix in _SEPARATORS:
            separator = _SEPARATORS[path.suffix]
            kinds = {"item": pl.String}
            table = pl.read_csv(path, separator=separator, schema_overrides=kinds, glob=False)
        else:
            raise InputError(f"{path}: expected .parquet, .csv, .tsv, or .npy with --ids")
    except (OSError, pl.exceptions.PolarsError) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a table of vectors ({detail})") from None
    if "item" not in table.columns or len(table.columns) < 2 or not len(table):
        raise InputError(
            f"{path}: a column item, others with numbers and a row or more are expected; the file "
            f"has {', '.join(map(repr, table.columns))} and {len(table)} rows"
        )
    others = table.drop("item")
    known = table["item"].cast(pl.String)
    if known.has_nulls():
        raise InputError(f"{path}: row {known.is_null().arg_true()[0]}: item is missing")
    return known.to_list(), _numbers(path, others, known)


def _numbers(path: Path, table: pl.DataFrame, known: pl.Series) -> NDArray[Any]:
    first = table.to_series(0)
    if len(table.columns) == 1 and first.dtype.is_nested():
        lists = first.cast(pl.List(pl.Float32), strict=False)
        widths = lists.list.len()
        width = int(np.bincount(widths.drop_nulls().to_numpy(), minlength=1).argmax())
        odd = widths.is_not_null() & (widths != width)
        if odd.any():
            at = odd.arg_true()[0]
            raise InputError(
                f"{path}: the vector of item {known[at]!r} has {widths[at]} numbers, others {width}"
            )
        rows = np.full((len(table), width), np.nan, dtype=np.float32)
        there = lists.is_not_null().to_numpy()
        rows[there] = np.array(lists.drop_nulls().to_list(), dtype=np.float32)
        return rows
    for column in table:
        if not column.dtype.is_numeric():
            raise InputError(f"{path}: column {column.name!r} is {column.dtype}; expected numbers")
    return table.cast(pl.Float32).to_numpy()
