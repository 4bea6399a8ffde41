"""Vectors that are there already, joined to items by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.layouts.arrays import read_array
from sgurinit.data.layouts.vectors import item_vectors
from sgurinit.errors import InputError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_vectors(path: Path, ids: Path | None, name: str) -> tuple[list[str], NDArray[Any]]:
    """Read vectors and the ids that they belong to.

    Parameters
    ----------
    path : Path
        Parquet with a column ``item`` and one of lists of numbers; CSV or TSV with a column
        ``item`` and numbers in the others; or ``.npy`` of shape (n, d).
    ids : Path, optional
        Of a ``.npy`` file: text, the id of each row.
    name : str
        Of a Parquet file, the column with the vectors where several hold lists of numbers.

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
            f"{path}: `ids` goes with a .npy file: text with the item id of each row, a line each; "
            "other files have a column item"
        )
    if ids is not None:
        known, values = _lines(ids), read_array(path)
        if len(known) != len(values):
            raise InputError(f"{ids}: {len(known)} ids but {path.name} has {len(values)} rows")
    elif path.suffix == ".parquet":
        named, values = item_vectors(path, name, "item")
        known = named.cast(pl.String).to_list()
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
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file with an id per line ({error})") from None


def _table(path: Path) -> tuple[list[str], NDArray[Any]]:
    if path.suffix not in _SEPARATORS:
        raise InputError(f"{path}: expected .parquet, .csv, .tsv, or .npy with `ids`")
    try:
        table = pl.read_csv(
            path,
            separator=_SEPARATORS[path.suffix],
            infer_schema=False,
            glob=False,
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a table of vectors ({detail})") from None
    if "item" not in table.columns or len(table.columns) < 2 or not len(table):
        raise InputError(
            f"{path}: a column item, others with numbers and a row or more are expected; the file "
            f"has {', '.join(map(repr, table.columns))} and {len(table)} rows"
        )
    known = table["item"]
    if known.has_nulls():
        raise InputError(f"{path}: line {known.is_null().arg_true()[0] + 2}: item is missing")
    texts = table.drop("item")
    numbers = texts.cast(pl.Float32, strict=False)
    whole = texts.select(pl.all_horizontal(pl.all().is_null())).to_series()  # a vector of none
    for column in texts.columns:
        wrong = numbers[column].is_null() & ~whole
        if wrong.any():
            at = wrong.arg_true()[0]
            raise InputError(
                f"{path}: line {at + 2}: {column} is {texts[column][at]!r}; a number is expected"
            )
    return known.to_list(), numbers.fill_null(float("nan")).to_numpy()
