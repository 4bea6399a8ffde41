"""A log in memory, with ids as integer codes: 8 to 24 bytes per interaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.stream.id_columns import is_text, parse_ids
from sgurinit.data.layouts.tables import can_hold_numbers, divide_times
from sgurinit.data.layouts.text_lines import explain_fault
from sgurinit.data.prepare.sources import Source
from sgurinit.errors import InputError
from sgurinit.files import READ_ERRORS

TIME_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000, "iso": 1}
"""Number of parts of a second in each unit of time.

Times with the unit ``iso`` are dates as in ISO 8601, in UTC if they have no time zone. Times with
the unit ``order`` only give an order.
"""

_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_YEAR = 31_556_952  # seconds
_SHOWN = 40  # characters of an id in a message
_WHOLE = r"^[+-]?[0-9]+$"


@dataclass(frozen=True, eq=False)
class Log:
    """Interactions with ids as integer codes.

    Parameters
    ----------
    users, items : ndarray of uint32, shape (n,)
        Positions in `user_ids` and `item_ids`.
    value : ndarray of float64, shape (n,), or None
        Rating or count.
    time : ndarray of int64 or float64, shape (n,), or None
        Time since 1970 in parts of a second, or any numbers that give an order.
    user_ids, item_ids : Series
        External ids, sorted. After filtering, some may have no interaction.
    time_parts : int, default 1
        Number of parts of a second in a unit of time.
    """

    users: NDArray[np.uint32]
    items: NDArray[np.uint32]
    value: NDArray[np.float64] | None
    time: NDArray[np.int64] | NDArray[np.float64] | None
    user_ids: pl.Series
    item_ids: pl.Series
    time_parts: int = 1

    def __len__(self) -> int:
        """Return the number of interactions."""
        return int(self.users.size)

    def degrees(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of interactions of each user and of each item."""
        return (
            np.bincount(self.users, minlength=len(self.user_ids)),
            np.bincount(self.items, minlength=len(self.item_ids)),
        )

    def take(self, rows: NDArray[Any]) -> Log:
        """Return some of the interactions, by mask or by position."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            value=None if self.value is None else self.value[rows],
            time=None if self.time is None else self.time[rows],
        )

    def seconds(self) -> pl.Series | None:
        """Return the times in seconds: integers, or floats if one of them has a fraction."""
        return None if self.time is None else divide_times(pl.Series(self.time), self.time_parts)


def read_log(source: Source, time_unit: str | None = None) -> Log:
    """Read a log and check every value in it.

    Parameters
    ----------
    source : Source
        The log.
    time_unit : str, optional
        A unit in `TIME_UNITS`, or ``"order"``. Default: that of the source. Columns of dates in a
        Parquet file do not need it.

    Returns
    -------
    Log
        The interactions in the order of the file.

    Raises
    ------
    InputError
        Naming the file, and the line and column, if a value is missing, is not a number or cannot
        be an id, if times do not have their unit, or if a line cannot be read.
    """
    unit = time_unit or source.time_unit
    if unit not in (*TIME_UNITS, "order"):
        raise InputError(f"time_unit is {unit!r}, allowed are {', '.join(TIME_UNITS)}, order")
    scan = source.scan()
    try:
        kinds = scan.collect_schema()
        _check_types(source, kinds)
        spaces = {role: pl.Categories.random(role) for role in ("user", "item")}
        columns = [pl.col(r).cast(pl.String).cast(pl.Categorical(c)) for r, c in spaces.items()]
        columns += [
            _parse_numbers(role, kinds, unit) for role in ("value", "time") if role in kinds
        ]
        table = scan.select(columns).collect(engine="streaming")
    except READ_ERRORS as error:
        raise InputError(f"{source.path}: {_explain(source, error)}") from error
    source.check_count(len(table))
    if table.is_empty():
        raise InputError(f"{source.path}: the log has no interaction")
    codes: dict[str, tuple[NDArray[np.uint32], pl.Series]] = {}
    numbers: dict[str, NDArray[Any]] = {}
    for role in source.columns:
        column = table.get_column(role)
        table = table.drop(role)  # only one column at a time is in memory twice
        if role == "time":
            column = _read_fractions(source, column, kinds[role], unit)
        _check_values(source, column, unit)
        if role in spaces:
            codes[role] = _number_ids(source, column, kinds[role])
        else:
            numbers[role] = column.to_numpy()
    return Log(
        users=codes["user"][0],
        items=codes["item"][0],
        value=numbers.get("value"),
        time=numbers.get("time"),
        user_ids=codes["user"][1],
        item_ids=codes["item"][1],
        time_parts=_check_years(source, numbers.get("time"), _numeric_unit(kinds, unit)),
    )


def guess_roles(source: Source) -> dict[str, str]:
    """Guess which unused columns hold values or times, where the log has none of that role.

    Only the first rows are read. Numbers are times if they are plausible dates in any unit. Columns
    named like ids are skipped.

    Returns
    -------
    dict of str to str
        Column name to ``"value"`` or ``"time"``.
    """
    missing = {"value", "time"} - source.columns.keys()
    if not missing or not source.left_out:
        return {}
    try:
        table = source.scan_left_out().head(_FIRST_ROWS).collect(engine="streaming")
    except READ_ERRORS:  # an unused column cannot make a log faulty
        return {}
    roles = {c.name: _guess_role(c) for c in table if not _ID_NAME.search(c.name)}
    return {name: role for name, role in roles.items() if role in missing}


_FIRST_ROWS = 100
_ID_NAME = re.compile(r"^$|^Unnamed|(?:^|_)(?i:id)$|[a-z]I[dD]$")  # also the index that pandas adds


def _guess_role(column: pl.Series) -> str | None:
    column = column.drop_nulls()
    kind = column.dtype
    if _is_date(kind):
        return "time"
    if column.is_empty() or not (kind.is_numeric() or kind == pl.String):
        return None
    numbers = column.cast(pl.Float64, strict=False)
    if not numbers.has_nulls():
        years = [1970 + numbers / (_YEAR * parts) for parts in set(TIME_UNITS.values())]
        is_time = any(year.is_between(_FIRST_YEAR, _LAST_YEAR).all() for year in years)
        return "time" if is_time else "value"
    moments = column.to_frame("time").select(_parse_numbers("time", {"time": kind}, "iso"))
    return None if moments.to_series().has_nulls() else "time"


def _check_types(source: Source, kinds: Mapping[str, pl.DataType]) -> None:
    """Refuse columns whose type does not fit their role."""
    for role, kind in kinds.items():
        if role in ("user", "item"):
            expected, fits = "text or integers", kind.is_integer() or kind in _TEXTS
        else:
            is_date = role == "time" and _is_date(kind)
            expected, fits = "numbers", is_date or can_hold_numbers(kind, role)
        if not fits:
            raise InputError(
                f"{source.path}: column {source.columns[role]} is {kind}; {expected} are expected "
                f"for the {role}"
            )


_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Null)


def _is_date(kind: pl.DataType) -> bool:
    return kind in (pl.Date, pl.Datetime)


def _numeric_unit(kinds: Mapping[str, pl.DataType], unit: str) -> str:
    """Return the unit of the times as numbers."""
    kind = kinds.get("time")
    if unit == "order" or kind is None:
        return unit
    if isinstance(kind, pl.Datetime):
        return str(kind.time_unit)
    return "s" if kind == pl.Date else _ISO_UNIT if unit == "iso" else unit


def _parse_numbers(role: str, kinds: Mapping[str, pl.DataType], unit: str) -> pl.Expr:
    """Parse a column as numbers, null where it cannot be parsed."""
    given = pl.col(role).cast(pl.String) if is_text(kinds[role]) else pl.col(role)
    if role == "value":
        return given.cast(pl.Float64, strict=False)
    if _is_date(kinds[role]):
        return given.dt.epoch(_numeric_unit(kinds, "s")).cast(pl.Int64)  # type: ignore[arg-type]
    if unit == "iso":
        text = given.cast(pl.String).str.strip_chars().str.replace("T", " ")
        text = text.str.replace("Z$", "+00:00")
        moments = [
            text.str.to_datetime(
                form,
                time_unit=_ISO_UNIT,
                strict=False,
                time_zone="UTC" if "z" in form else None,
            )
            for form in _ISO
        ]
        days = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime(_ISO_UNIT))
        return pl.coalesce(moment.dt.epoch(_ISO_UNIT) for moment in (*moments, days))
    # As integers, which keep every digit of nanoseconds; `_read_fractions` finds the others.
    return given.cast(pl.Int64, strict=False) if _is_whole(kinds[role]) else given


def _read_fractions(source: Source, column: pl.Series, kind: pl.DataType, unit: str) -> pl.Series:
    """Read times that are not all integers as floats, and floats that are whole as integers."""
    if unit == "iso" or _is_date(kind):
        return column
    if is_text(kind) and column.has_nulls():
        text = pl.col("time").cast(pl.String)
        table = source.scan().select(
            number=text.cast(pl.Float64, strict=False), is_whole=text.str.contains(_WHOLE)
        )
        exact, (column, is_whole) = column, table.collect(engine="streaming").get_columns()
        column = column.alias("time")
        lost = (column.cast(pl.Int64, strict=False) != exact) | (exact.is_null() & is_whole)
        if lost.any():
            at = int(lost.arg_max() or 0)
            raise InputError(
                f"{source.path}: {source.row_label(at)}: {source.columns['time']} is "
                f"{_read_value(source, 'time', at)}, of which not all digits can be kept beside "
                "times that are not integers of 64 bits; give integers, or fewer digits"
            )
    if not column.dtype.is_integer():
        whole = column.cast(pl.Int64, strict=False)
        if whole.null_count() == 0 and (whole.cast(column.dtype) == column).all():
            return whole
        return column.cast(pl.Float64)
    return column


def _read_value(source: Source, role: str, row: int) -> Any:
    """Read one value as it is in the file."""
    return source.scan().slice(row, 1).select(role).collect().item()


def _is_whole(kind: pl.DataType) -> bool:
    """Whether the times in a column are read as integers first."""
    return not (kind.is_float() or kind.is_decimal())


_ISO_UNIT: Literal["ns"] = "ns"
_ISO = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")


def _check_values(source: Source, column: pl.Series, unit: str) -> None:
    """Refuse a missing value, and one that is not a number."""
    wrong = column.is_null()
    if column.dtype.is_float():
        wrong |= ~column.is_finite()
    if not wrong.any():
        return
    at = int(wrong.arg_max() or 0)
    value = _read_value(source, column.name, at)
    if value is None or value == "":
        raise _missing(source, column.name, at)
    expected = "a finite number is expected"
    if column.name == "time":
        expected = (
            "a date such as 2024-01-31T12:00:00Z is expected"
            if unit == "iso"
            else f"{expected}; for dates give `time_unit` iso"
        )
    raise InputError(
        f"{source.path}: {source.row_label(at)}: {source.columns[column.name]} is {value!r}; "
        f"{expected}"
    )


def _missing(source: Source, role: str, row: int) -> InputError:
    return InputError(
        f"{source.path}: {source.row_label(row)}: {source.columns[role]} is missing; fill it in, "
        "or remove the line"
    )


def _number_ids(
    source: Source, column: pl.Series, kind: pl.DataType
) -> tuple[NDArray[np.uint32], pl.Series]:
    """Return the code of each id, and the sorted ids: text, or integers of 64 bits with a sign."""
    physical = column.to_physical().to_numpy()
    distinct = column.unique()
    ids = distinct.cast(pl.String)
    blank = ids.str.strip_chars() == ""
    if blank.any():
        code = distinct.to_physical().filter(blank)[0]
        raise _missing(source, column.name, int(np.argmax(physical == code)))
    codes = distinct.to_physical()

    def name_row(at: int) -> str:
        return f"{source.path}: {source.row_label(int(np.argmax(physical == codes[at])))}"

    ids = parse_ids(ids.rename(source.columns[column.name]), source.path, name_row)
    if kind.is_integer():
        numbers = ids.cast(pl.Int64, strict=False)
        ids = ids if numbers.has_nulls() else numbers
    else:
        _check_text_ids(ids, name_row, lines=source.separator is not None)
    table = pl.DataFrame({"id": ids, "seen": codes})
    table = table.sort("id")
    seen = table["seen"].to_numpy()
    position = np.zeros(int(seen.max()) + 1, dtype=np.uint32)
    position[seen] = np.arange(len(seen), dtype=np.uint32)
    return position[physical], table["id"]


def _check_text_ids(ids: pl.Series, name_row: Callable[[int], str], *, lines: bool) -> None:
    """Refuse ids that only spaces tell apart and, in a text table, ids with a line break."""
    if lines and (broken := ids.str.contains(r"[\r\n]")).any():
        at = int(broken.arg_max() or 0)
        raise InputError(
            f"{name_row(at)}: {ids.name} {ids[at][:_SHOWN]!r} has a line break; check that the "
            "quotes around fields are in pairs"
        )
    alike = ids.str.strip_chars()
    if (padded := (alike != ids) & ~alike.is_unique()).any():
        at = int(padded.arg_max() or 0)
        raise InputError(
            f"{name_row(at)}: {ids.name} {ids[at][:_SHOWN]!r} differs from another id only in the "
            "spaces around it; remove the spaces"
        )


def _check_years(source: Source, time: NDArray[Any] | None, unit: str) -> int:
    """Return the parts of a second in a unit of time, and refuse implausible years."""
    if time is None or unit == "order":
        return 1
    parts = TIME_UNITS[unit]
    for extreme in (time.min().item(), time.max().item()):
        year = 1970 + extreme / (_YEAR * parts)
        if not _FIRST_YEAR <= year < _LAST_YEAR:
            raise InputError(
                f"{source.path}: column {source.columns['time']}: {extreme} "
                f"read as {unit} lies in the year {round(year):.6g}; give `time_unit` "
                f"{', '.join(TIME_UNITS)}, or order if the numbers are not dates"
            )
    return parts


def _explain(source: Source, error: BaseException) -> str:
    if source.form is not None and source.separator is not None:
        return explain_fault(source.path, source.separator, source.form, error)
    detail = str(error).strip().split("\n", maxsplit=1)[0]
    if "utf-8" in detail.lower() or "utf8" in detail.lower():
        return "not UTF-8 text; convert it, such as with iconv"
    if "end of file" in detail.lower() or "corrupt" in detail.lower():
        return f"the file is cut off, or damaged ({detail}); get it again"
    return f"cannot be read ({detail})"
