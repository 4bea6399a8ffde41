"""Tables on disk, read with one clear line for whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
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


def read_ids(path: Path, what: str, *, distinct: bool = False) -> pl.Series:
    """Read the external ids in column `what` of a Parquet file, in order of position.

    With `distinct` an id may come again, and stands where it came first.

    Raises
    ------
    InputError
        As `read_parquet`, and if they are neither strings nor integers, or one comes twice.
    """
    ids = read_parquet(path, [what])[what]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise InputError(f"{path}: {what} is {ids.dtype}; ids are strings or integers")
    if distinct:
        return ids.unique(maintain_order=True)
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


def read_text(
    path: Path, separator: str, names: Sequence[str] | None = None, *, quoted: bool = False
) -> pl.DataFrame:
    """Read a text table; every value stays text.

    Parameters
    ----------
    path : Path
        The file.
    separator : str
        What separates the fields.
    names : sequence of str, optional
        Names of the columns of a file without a header.
    quoted : bool
        Whether fields may stand in double quotes.

    Raises
    ------
    InputError
        If the file is missing, is not text, or a row has more fields than the first.
    """
    if names is not None and path.is_file() and path.stat().st_size == 0:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    table = _read(
        path,
        f"a text table with fields separated at {separator!r}",
        lambda: pl.read_csv(
            path,
            separator=separator,
            has_header=names is None,
            infer_schema=False,
            quote_char='"' if quoted else None,
            glob=False,
        ),
    )
    if names is None:
        return table
    if len(table.columns) != len(names):
        raise InputError(
            f"{path}: {len(table.columns)} fields in a line; {len(names)} are expected, separated "
            f"at {separator!r}: {', '.join(names)}"
        )
    return table.rename(dict(zip(table.columns, names, strict=True)))


def interactions(path: Path, table: pl.DataFrame, first: int) -> pl.DataFrame:
    """Check the columns user, item and, where they are, value and time of a table.

    Values and times may be text, as text files have them; dates become seconds.

    Parameters
    ----------
    path : Path
        Where it is from, for the messages.
    table : DataFrame
        Its rows.
    first : int
        Number of the line or row that the first of them has in the file.

    Raises
    ------
    InputError
        Naming the line with a missing id or value, or one that is no number.
    """
    line = "row" if path.suffix == ".parquet" else "line"
    require(path, table, ["user", "item"])
    for column in ("user", "item"):
        empty = _blank(table[column])
        if empty.any():
            raise InputError(f"{path}: {line} {empty.arg_true()[0] + first}: {column} is missing")
    for column, dtype in (("value", pl.Float64), ("time", pl.Int64)):
        if column not in table.columns or not table[column].count():
            table = table.drop(column, strict=False)
            continue
        given = table[column]
        if column == "time" and given.dtype in (pl.Date, pl.Datetime):
            given = given.dt.epoch("s")
        if given.dtype.is_nested() or given.dtype.is_temporal():
            raise InputError(f"{path}: {column} is {given.dtype}; numbers are expected")
        numbers = given.cast(pl.Float64, strict=False)
        wrong = numbers.is_null() | ~numbers.is_finite()
        if wrong.any():
            at = wrong.arg_true()[0]
            raise InputError(
                f"{path}: {line} {at + first}: {column} is {given[at]!r}; a finite number is "
                "expected"
            )
        exact = given.cast(dtype, strict=False)
        table = table.with_columns((exact if exact.null_count() == 0 else numbers).cast(dtype))
    return table.select(c for c in ("user", "item", "split", "value", "time") if c in table.columns)


def unique_ids(path: Path, ids: pl.Series, first: int) -> None:
    """Check the ids of a table that names each user or item once.

    Parameters
    ----------
    path : Path
        Where it is from, for the messages.
    ids : Series
        Named user or item.
    first : int
        Number of the line or row that the first of them has in the file.

    Raises
    ------
    InputError
        If an id is missing or comes twice.
    """
    line = "row" if path.suffix == ".parquet" else "line"
    empty = _blank(ids)
    if empty.any():
        raise InputError(f"{path}: {line} {empty.arg_true()[0] + first}: {ids.name} is missing")
    twice = ids.is_duplicated()
    if twice.any():
        raise InputError(f"{path}: {ids.name} id {ids.filter(twice)[0]} comes twice")


def _blank(ids: pl.Series) -> pl.Series:
    return ids.is_null() | (ids == "") if ids.dtype == pl.String else ids.is_null()


def known_ids(*columns: pl.Series) -> pl.Series:
    """Return all ids of some columns, each once, sorted."""
    return pl.concat(columns, rechunk=True).unique().sort()


def placed(path: Path, ids: pl.Series, values: NDArray[Any], known: pl.Series) -> ItemFeatures:
    """Put feature rows that come with the ids of their items in the order of the items.

    Raises
    ------
    InputError
        If an id is not known or comes twice, or as `ItemFeatures`.
    """
    twice = ids.is_duplicated()
    if twice.any():
        raise InputError(f"{path}: item id {ids.filter(twice)[0]} comes twice; give one row each")
    if (ids.dtype == pl.String) != (known.dtype == pl.String):
        raise InputError(f"{path}: item is {ids.dtype}, but {known.dtype} in the data")
    lookup = pl.DataFrame({"id": known}).with_row_index("place")
    found = ids.alias("id").to_frame().join(lookup, on="id", how="left", maintain_order="left")
    unknown = found["place"].is_null()
    if unknown.any():
        raise InputError(
            f"{path}: item id {ids.filter(unknown)[0]} is not one of the {len(known)} items of the "
            "data; remove its row, or add the item"
        )
    rows = np.zeros((len(known), values.shape[1]), dtype=values.dtype)
    present = np.zeros(len(known), dtype=bool)
    places = found["place"].to_numpy()
    rows[places], present[places] = values, True
    try:
        return ItemFeatures(rows, None if present.all() else present)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
