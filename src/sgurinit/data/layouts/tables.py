"""Read tables from disk, with a one-line error for every fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.stream.id_columns import is_text, parse_ids
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.text_lines import explain_fault, inspect_text
from sgurinit.errors import InputError
from sgurinit.files import READ_ERRORS, as_plain_path, scan_parquet

_INDEXES = ("index", "level_0", "row_nr")


def read_tsv(path: Path) -> pl.DataFrame:
    """Read a tab-separated file with a header. Every value stays text.

    Raises
    ------
    InputError
        As `read_text_table`.
    """
    return read_text_table(path, "\t")


def read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a Parquet file without nulls.

    Raises
    ------
    InputError
        If the file is missing, incomplete or not Parquet, or a column or a value is missing.
    """
    table = require_columns(path, read_parquet_table(path), columns)
    for column in columns:
        empty = table[column].is_null()
        if empty.any():
            raise InputError(f"{path}: row {empty.arg_true()[0]}: {column} is missing; fill it in")
    return table


def read_parquet_table(path: Path) -> pl.DataFrame:
    """Read a Parquet file. Times in zones that polars does not know, such as +05:30, are in UTC.

    Raises
    ------
    InputError
        If the file is missing, incomplete or not Parquet.
    """
    table = _read(path, "a complete Parquet file", lambda: scan_parquet(path).collect())
    return table.with_columns(
        pl.col(name).cast(pl.Datetime(dtype.time_unit, "UTC"))
        for name, dtype in table.schema.items()
        if isinstance(dtype, pl.Datetime) and not _is_known_zone(dtype.time_zone)
    )


def _is_known_zone(name: str | None) -> bool:
    """Whether polars can show times in a zone, which it cannot for all that files have."""
    if name is None:
        return True
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


def read_parquet_types(path: Path) -> dict[str, pl.DataType]:
    """Read the names and types of the columns of a Parquet file.

    Raises
    ------
    InputError
        As `read_parquet_table`.
    """
    schema = _read(
        path,
        "a complete Parquet file",
        lambda: scan_parquet(path).limit(0).collect(),
    ).schema
    return dict(schema)


def read_ids(path: Path, what: str, *, distinct: bool = False) -> pl.Series:
    """Read the external ids in column `what` of a Parquet file, in order of position.

    With `distinct`, ids may be repeated, and each is returned once, in order of first occurrence.

    Raises
    ------
    InputError
        As `read_parquet` and `parse_ids`, and if an id is repeated.
    """
    ids = parse_ids(read_parquet(path, [what])[what], path, lambda row: f"{path}: row {row}")
    if distinct:
        return ids.unique(maintain_order=True)
    repeated = ids.is_duplicated()
    if repeated.any():
        at = repeated.arg_true()[-1]
        raise InputError(f"{path}: row {at}: {what} id {ids[at]!r} is repeated; ids must be unique")
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
    except READ_ERRORS as error:
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
        If the file is missing or not text, a row has more fields than the first, a column is
        repeated, or quotes do not tell where a field ends.
    """
    if names is not None and path.is_file() and path.stat().st_size == 0:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    form = inspect_text(path, separator, quoted=quoted)
    try:
        table = pl.read_csv(
            as_plain_path(path),
            separator=separator,
            has_header=names is None,
            infer_schema=False,
            quote_char='"' if form.quoted else None,
            glob=False,
        )
    except READ_ERRORS as error:
        detail = explain_fault(path, separator, form, error)
        raise InputError(f"{path}: {detail}") from error
    form.check_count(path, len(table), header=names is None)
    for name in table.columns:  # polars renames a column whose name it has seen
        if (found := re.fullmatch(r"(.*)_duplicated_\d+", name)) and found[1] in table.columns:
            raise InputError(f"{path}: column {found[1]!r} is repeated; rename one")
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

    Values and times may be text. Dates become seconds. Times are integers, or floats if one of them
    has a fraction of a second.

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
        The columns user, item, split, value and time that the table has. Ids are integers or text,
        values and times numbers.

    Raises
    ------
    InputError
        Naming the line with a missing id or value, one that cannot be an id, see `parse_ids`, or a
        value that is not a number.
    """
    line = "row" if path.suffix == ".parquet" else "line"
    require_columns(path, table, ["user", "item"])
    for column in ("user", "item"):
        empty = _blank(table[column])
        if empty.any():
            raise InputError(f"{path}: {line} {empty.arg_true()[0] + first}: {column} is missing")
        ids = parse_ids(table[column], path, lambda row: f"{path}: {line} {row + first}")
        table = table.with_columns(ids)
    for column in ("value", "time"):
        if column not in table.columns or not table[column].count():
            table = table.drop(column, strict=False)
            continue
        given = table[column]
        if column == "time" and given.dtype in (pl.Date, pl.Datetime):
            given = dates_to_seconds(given)
        if not can_hold_numbers(given.dtype, column):
            raise InputError(f"{path}: column {column} is {given.dtype}; numbers are expected")
        given = given.cast(pl.String) if is_text(given.dtype) else given
        numbers = given.cast(pl.Float64, strict=False)
        wrong = numbers.is_null() | ~numbers.is_finite()
        if wrong.any():
            at = wrong.arg_true()[0]
            found = "missing" if given[at] is None else repr(given[at])
            raise InputError(
                f"{path}: {line} {at + first}: {column} is {found}; a finite number is expected"
            )
        table = table.with_columns(numbers if column == "value" else _whole_times(given, numbers))
    return table.select(c for c in ("user", "item", "split", "value", "time") if c in table.columns)


def can_hold_numbers(dtype: pl.DataType, role: str) -> bool:
    """Tell whether a column of this type can hold values, or times as numbers."""
    if dtype == pl.Boolean:
        return role == "value"
    return dtype.is_numeric() or is_text(dtype) or dtype == pl.Null


def parse_splits(path: Path, splits: pl.Series, first: int) -> pl.Series:
    """Check a column of names of splits, and return it as text.

    Parameters
    ----------
    path : Path
        The file, for messages.
    splits : Series
        The column.
    first : int
        Number of the first row in the file, as a line or row number.

    Raises
    ------
    InputError
        If the column is not text, or naming the line or row with another name.
    """
    allowed = f"allowed are {', '.join(SPLITS)}"
    if not is_text(splits.dtype) and splits.dtype != pl.Null:
        raise InputError(f"{path}: column {splits.name} is {splits.dtype}, not text; {allowed}")
    labels = splits.cast(pl.String)
    wrong = labels.is_null() | ~labels.is_in(SPLITS)
    if wrong.any():
        at = wrong.arg_true()[0]
        line = "row" if path.suffix == ".parquet" else "line"
        found = "missing" if labels[at] is None else repr(labels[at])
        raise InputError(f"{path}: {line} {at + first}: {splits.name} is {found}; {allowed}")
    return labels


def dates_to_seconds(dates: pl.Series) -> pl.Series:
    """Convert dates to seconds since 1970: integers, or floats if one has a fraction."""
    if dates.dtype == pl.Date:
        return dates.dt.epoch("s")
    parts = {"ms": 10**3, "us": 10**6, "ns": 10**9}
    unit = dates.dtype.time_unit  # type: ignore[attr-defined]
    return divide_times(dates.dt.epoch(unit), parts[unit])


def divide_times(times: pl.Series, parts: int) -> pl.Series:
    """Divide times by the parts of a second: integers, or floats if one has a fraction.

    Floats of today's seconds differ by a quarter of a microsecond.
    """
    rest = times % parts
    return times // parts + rest / parts if (rest != 0).any() else times // parts


def _whole_times(given: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return times as integers if all are whole, else as floats."""
    exact = given.cast(pl.Int64, strict=False)
    if not exact.has_nulls() and (is_text(given.dtype) or (exact.cast(given.dtype) == given).all()):
        return exact
    rounded = numbers.cast(pl.Int64, strict=False)
    return rounded if (rounded == numbers).all() and not rounded.has_nulls() else numbers


def parse_numbers(path: Path, column: pl.Series) -> pl.Series:
    """Return a column of features as floats: text as float32, other numbers with all digits.

    Parameters
    ----------
    path : Path
        The file, for messages.
    column : Series
        Numbers, as text or not.

    Returns
    -------
    Series of float
        The numbers, null where they are missing.

    Raises
    ------
    InputError
        If the column is of another type, or naming the line or row of a text that is not a number.
    """
    if not can_hold_numbers(column.dtype, "value"):
        raise InputError(f"{path}: column {column.name} is {column.dtype}; numbers are expected")
    if not is_text(column.dtype):
        return column if column.dtype.is_float() else column.cast(pl.Float64)
    texts = column.cast(pl.String)
    numbers = texts.cast(pl.Float32, strict=False)
    wrong = numbers.is_null()
    if wrong.any():
        at = int(wrong.arg_true()[0])
        line = f"row {at}" if path.suffix == ".parquet" else f"line {at + 2}"
        found = "missing" if texts[at] is None else repr(texts[at])
        raise InputError(f"{path}: {line}: {column.name} is {found}; a number is expected")
    return numbers


def refuse_row_numbers(path: Path, table: pl.DataFrame) -> None:
    """Refuse a column of row numbers among the numbers of items, as pandas adds it.

    Raises
    ------
    InputError
        Naming the column: one without a name, or one that is called an index and counts rows.
    """
    for name in table.columns:
        numbers = table[name].cast(pl.Int64, strict=False) if name in _INDEXES else None
        counts = numbers is not None and numbers.equals(pl.int_range(len(table), eager=True))
        if counts or re.fullmatch(r"|Unnamed: \d+|__index_level_\d+__", name):
            raise InputError(
                f"{path}: column {name!r} is not a feature but the row numbers that pandas writes; "
                "write the file with index=False, or remove the column"
            )


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
            f"{path}: {ids.name} id {ids.filter(repeated)[0]!r} is repeated; ids must be unique"
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
            f"{path}: item id {ids.filter(repeated)[0]!r} is repeated; give one row each"
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
            f"{path}: item id {ids.filter(unknown)[0]!r} is not one of the {len(known)} items of "
            "the data set; remove its row, or add the item"
        )
    rows = np.zeros((len(known), values.shape[1]), dtype=values.dtype)
    present = np.zeros(len(known), dtype=bool)
    positions = found["position"].to_numpy()
    rows[positions], present[positions] = values, True
    try:
        return ItemFeatures(rows, None if present.all() else present)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
