"""Tables on disk, read with one clear line for whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.errors import InputError


def read_tsv(path: Path) -> pl.DataFrame:
    """Read a tab-separated file with a header; every value stays text.

    Raises
    ------
    InputError
        If the file is missing, empty, not text, or its rows have more fields than the header.
    """
    return _read(
        path,
        "a tab-separated table with a header",
        lambda: pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None, glob=False),
    )


def read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a Parquet file; none of their values is null.

    Raises
    ------
    InputError
        If the file is missing, cut off or not Parquet, or a column or a value is missing.
    """
    table = _read(path, "a complete Parquet file", lambda: pl.read_parquet(path, glob=False))
    table = require(path, table, columns)
    for column in columns:
        empty = table[column].is_null()
        if empty.any():
            raise InputError(f"{path}: row {empty.arg_true()[0]}: {column} is missing; fill it in")
    return table


def read_ids(path: Path, what: str) -> pl.Series:
    """Read the external ids in column `what` of a Parquet file, in order of position.

    Raises
    ------
    InputError
        As `read_parquet`, and if they are neither strings nor integers, or one comes twice.
    """
    ids = read_parquet(path, [what])[what]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise InputError(f"{path}: {what} is {ids.dtype}; ids are strings or integers")
    repeated = ids.is_duplicated()
    if repeated.any():
        at = repeated.arg_true()[-1]
        raise InputError(f"{path}: row {at}: {what} id {ids[at]} comes twice; ids are unique")
    return ids


def require(path: Path, table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return the named columns of a table.

    Raises
    ------
    InputError
        Naming those that are not there, and those that are.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} is missing; the file has "
            f"{', '.join(map(repr, table.columns))}"
        )
    return table.select(columns)


def positions(
    path: Path, table: pl.DataFrame, column: str, count: int, source: str
) -> NDArray[np.int64]:
    """Read a text column of a tab-separated file as positions.

    Parameters
    ----------
    path : Path
        The file, for the messages.
    table : DataFrame
        As `read_tsv` gives it.
    column : str
        The column to read.
    count : int
        Positions must be below it.
    source : str
        Where the limit comes from, for the messages.

    Returns
    -------
    ndarray of int64, shape (n_rows,)

    Raises
    ------
    InputError
        Naming the line and the value that is no integer or out of range.
    """
    numbers = table[column].str.strip_chars().cast(pl.Int64, strict=False)
    unreadable = numbers.is_null()
    if unreadable.any():
        at = int(unreadable.arg_true()[0])
        value = table[column][at]
        raise InputError(
            f"{path}: line {at + 2}: {column} is {value!r}; an integer is expected"
            if value is not None
            else f"{path}: line {at + 2}: {column} is missing; an integer is expected"
        )
    values = numbers.to_numpy().astype(np.int64)
    wrong = (values < 0) | (values >= count)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"{path}: line {at + 2}: {column} {values[at]} is out of range; allowed are 0 to "
            f"{count - 1} ({source})"
        )
    return values


def _read(path: Path, expected: str, reader: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    try:
        return reader()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        detail = str(error).strip().split("\n", maxsplit=1)[0]
        raise InputError(f"{path}: not {expected} ({detail})") from error
