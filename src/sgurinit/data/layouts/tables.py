"""Read tables from disk, with a one-line error for every fault."""

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
    """Read a tab-separated file with a header. Every value stays text.

    Raises
    ------
    InputError
        If the file is missing, empty or not text, or a row has more fields than the header.
    """
    return _read(
        path,
        "a tab-separated table with a header",
        lambda: pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None, glob=False),
    )


def read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a Parquet file without nulls.

    Raises
    ------
    InputError
        If the file is missing, incomplete or not Parquet, or a column or a value is missing.
    """
    table = _read(path, "a complete Parquet file", lambda: pl.read_parquet(path, glob=False))
    table = require_columns(path, table, columns)
    for column in columns:
        empty = table[column].is_null()
        if empty.any():
            raise InputError(f"{path}: row {empty.arg_true()[0]}: {column} is missing; fill it in")
    return table


def read_ids(path: Path, what: str, *, distinct: bool = False) -> pl.Series:
    """Read the external ids in column `what` of a Parquet file, in order of position.

    With `distinct`, ids may be repeated, and each is returned once, in order of first occurrence.

    Raises
    ------
    InputError
        As `read_parquet`, and if the ids are neither strings nor integers, or one is repeated.
    """
    ids = read_parquet(path, [what])[what]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise InputError(f"{path}: {what} is {ids.dtype}; ids are strings or integers")
    if distinct:
        return ids.unique(maintain_order=True)
    repeated = ids.is_duplicated()
    if repeated.any():
        at = repeated.arg_true()[-1]
        raise InputError(f"{path}: row {at}: {what} id {ids[at]} is repeated; ids must be unique")
    return ids


def require_columns(path: Path, table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return the named columns of a table.

    Raises
    ------
    InputError
        Naming the missing columns, and those that the file has.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} is missing; the file has "
            f"{', '.join(map(repr, table.columns))}"
        )
    return table.select(columns)


def parse_positions(
    path: Path, table: pl.DataFrame, column: str, count: int, source: str
) -> NDArray[np.int64]:
    """Parse a text column as positions.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : DataFrame
        Rows of the file, as text.
    column : str
        Name of the column.
    count : int
        Number of positions; each must be below it.
    source : str
        Where the limit comes from, for messages.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        The positions.

    Raises
    ------
    InputError
        Naming the line with a value that is not an integer or is out of range.
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


def read_text_table(
    path: Path, separator: str, names: Sequence[str] | None = None, *, quoted: bool = False
) -> pl.DataFrame:
    """Read a text table. Every value stays text.

    Parameters
    ----------
    path : Path
        The file.
    separator : str
        Separator of the fields.
    names : sequence of str, optional
        Column names of a file without a header.
    quoted : bool, default False
        Whether fields may be in double quotes.

    Returns
    -------
    DataFrame
        The columns as text.

    Raises
    ------
    InputError
        If the file is missing or not text, or a row has more fields than the first.
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


def check_interactions(path: Path, table: pl.DataFrame, first: int) -> pl.DataFrame:
    """Check the columns user and item of a table and, if present, value and time.

    Values and times may be text. Dates become seconds.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : DataFrame
        Its rows.
    first : int
        Number of the first row in the file, as a line or row number.

    Returns
    -------
    DataFrame
        The columns user, item, split, value and time that the table has; values and times are
        numbers.

    Raises
    ------
    InputError
        Naming the line with a missing id or value, or a value that is not a number.
    """
    line = "row" if path.suffix == ".parquet" else "line"
    require_columns(path, table, ["user", "item"])
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


def check_unique_ids(path: Path, ids: pl.Series, first: int) -> None:
    """Check that the ids of a table are present and unique.

    Parameters
    ----------
    path : Path
        The file, for messages.
    ids : Series
        The ids, named user or item.
    first : int
        Number of the first row in the file, as a line or row number.

    Raises
    ------
    InputError
        If an id is missing or repeated.
    """
    line = "row" if path.suffix == ".parquet" else "line"
    empty = _blank(ids)
    if empty.any():
        raise InputError(f"{path}: {line} {empty.arg_true()[0] + first}: {ids.name} is missing")
    repeated = ids.is_duplicated()
    if repeated.any():
        raise InputError(
            f"{path}: {ids.name} id {ids.filter(repeated)[0]} is repeated; ids must be unique"
        )


def _blank(ids: pl.Series) -> pl.Series:
    return ids.is_null() | (ids == "") if ids.dtype == pl.String else ids.is_null()


def holds_values(dtype: pl.DataType) -> bool:
    """Tell whether a column of this type holds lists of text or of whole numbers."""
    return isinstance(dtype, pl.List) and not (dtype.inner.is_nested() or dtype.inner.is_float())


def to_text(column: pl.Series) -> pl.Series:
    """Convert a column to text. Lists are joined with ``", "``."""
    if holds_values(column.dtype):
        return column.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    return column.cast(pl.String)


def collect_ids(*columns: pl.Series) -> pl.Series:
    """Return the distinct ids of some columns, sorted."""
    return pl.concat(columns, rechunk=True).unique().sort()


def align_features(
    path: Path, ids: pl.Series, values: NDArray[Any], known: pl.Series
) -> ItemFeatures:
    """Put feature rows with item ids in the order of the items.

    Parameters
    ----------
    path : Path
        The file, for messages.
    ids : Series
        Item id of each row.
    values : ndarray of float, shape (n, d)
        The rows.
    known : Series
        Ids of all items, in order of position.

    Returns
    -------
    ItemFeatures
        One row per item. Items without a row are marked as such.

    Raises
    ------
    InputError
        If an id is unknown or repeated, or as `ItemFeatures`.
    """
    repeated = ids.is_duplicated()
    if repeated.any():
        raise InputError(
            f"{path}: item id {ids.filter(repeated)[0]} is repeated; give one row each"
        )
    if (ids.dtype == pl.String) != (known.dtype == pl.String):
        raise InputError(
            f"{path}: item is {ids.dtype}, but {known.dtype} in the data set; use one type"
        )
    lookup = pl.DataFrame({"id": known}).with_row_index("position")
    found = ids.alias("id").to_frame().join(lookup, on="id", how="left", maintain_order="left")
    unknown = found["position"].is_null()
    if unknown.any():
        raise InputError(
            f"{path}: item id {ids.filter(unknown)[0]} is not one of the {len(known)} items of the "
            "data set; remove its row, or add the item"
        )
    rows = np.zeros((len(known), values.shape[1]), dtype=values.dtype)
    present = np.zeros(len(known), dtype=bool)
    positions = found["position"].to_numpy()
    rows[positions], present[positions] = values, True
    try:
        return ItemFeatures(rows, None if present.all() else present)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
