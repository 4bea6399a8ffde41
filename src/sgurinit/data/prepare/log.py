"""A log in memory, with ids as integer codes: 8 to 24 bytes per interaction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.prepare.sources import Source, first_line
from sgurinit.errors import InputError

TIME_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000, "iso": 1}
"""Number of parts of a second in each unit of time.

Times with the unit ``iso`` are dates as in ISO 8601, in UTC if they have no time zone. Times with
the unit ``order`` only give an order.
"""

_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_YEAR = 31_556_952  # seconds


@dataclass(frozen=True, eq=False)
class Log:
    """Interactions with ids as integer codes.

    Parameters
    ----------
    users, items : ndarray of uint32, shape (n,)
        Positions in `user_ids` and `item_ids`.
    value : ndarray of float64, shape (n,), or None
        Rating or count.
    time : ndarray of int64, shape (n,), or None
        Seconds since 1970, or any numbers that give an order.
    user_ids, item_ids : Series
        External ids, sorted. After filtering, some may have no interaction.
    """

    users: NDArray[np.uint32]
    items: NDArray[np.uint32]
    value: NDArray[np.float64] | None
    time: NDArray[np.int64] | None
    user_ids: pl.Series
    item_ids: pl.Series

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
        Naming the file, and the line and column, if a value is missing or is not a number, or if
        times do not have their unit.
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
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.path}: {_explain(source, error)}") from error
    if table.is_empty():
        raise InputError(f"{source.path}: the log has no interaction")
    codes: dict[str, tuple[NDArray[np.uint32], pl.Series]] = {}
    numbers: dict[str, NDArray[Any]] = {}
    for role in source.columns:
        column = table.get_column(role)
        table = table.drop(role)  # only one column at a time is in memory twice
        _check_values(source, column, unit)
        if role in spaces:
            codes[role] = _number_ids(source, column, kinds[role].is_integer())
        else:
            numbers[role] = column.to_numpy()
    return Log(
        users=codes["user"][0],
        items=codes["item"][0],
        value=numbers.get("value"),
        time=_to_seconds(source, numbers.get("time"), _numeric_unit(kinds, unit)),
        user_ids=codes["user"][1],
        item_ids=codes["item"][1],
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
    except (pl.exceptions.PolarsError, OSError):  # an unused column cannot make a log faulty
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
            expected, fits = "numbers", is_date or not (kind.is_nested() or kind.is_temporal())
        if not fits:
            raise InputError(
                f"{source.path}: column {source.columns[role]} is {kind}; {expected} are expected "
                f"for the {role}"
            )


_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Null)


def _is_date(kind: pl.DataType) -> bool:
    return kind in (pl.Date, pl.Datetime)


def _numeric_unit(kinds: Mapping[str, pl.DataType], unit: str) -> str:
    """Return the unit of the times as numbers. Dates become seconds."""
    return "s" if "time" in kinds and _is_date(kinds["time"]) and unit != "order" else unit


def _parse_numbers(role: str, kinds: Mapping[str, pl.DataType], unit: str) -> pl.Expr:
    """Parse a column as numbers, null where it cannot be parsed."""
    given = pl.col(role)
    if role == "value":
        return given.cast(pl.Float64, strict=False)
    if _is_date(kinds[role]):
        return given.dt.epoch("s").cast(pl.Int64)
    if unit == "iso":
        text = given.cast(pl.String).str.strip_chars().str.replace("T", " ")
        text = text.str.replace("Z$", "+00:00")
        moments = [
            text.str.to_datetime(form, strict=False, time_zone="UTC" if "z" in form else None)
            for form in _ISO
        ]
        return pl.coalesce(
            *(moment.dt.epoch("s") for moment in moments),
            text.str.to_date("%Y-%m-%d", strict=False).dt.epoch("s"),
        )
    # Integers first, so that times in nanoseconds keep every digit.
    return pl.coalesce(
        given.cast(pl.Int64, strict=False),
        given.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False),
    )


_ISO = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")


def _check_values(source: Source, column: pl.Series, unit: str) -> None:
    """Refuse a missing value, and one that is not a number."""
    wrong = column.is_null()
    if column.dtype.is_float():
        wrong |= ~column.is_finite()
    if not wrong.any():
        return
    at = int(wrong.arg_max() or 0)
    value = source.scan().slice(at, 1).select(column.name).collect().item()
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
    source: Source, column: pl.Series, whole: bool
) -> tuple[NDArray[np.uint32], pl.Series]:
    """Return the code of each id, and the sorted ids."""
    physical = column.to_physical().to_numpy()
    distinct = column.unique()
    ids = distinct.cast(pl.String)
    blank = ids.str.strip_chars() == ""
    if blank.any():
        code = distinct.to_physical().filter(blank)[0]
        raise _missing(source, column.name, int(np.argmax(physical == code)))
    if whole:
        numbers = ids.cast(pl.Int64, strict=False)
        ids = ids.cast(pl.UInt64) if numbers.null_count() else numbers
    table = pl.DataFrame({"id": ids, "seen": distinct.to_physical()})
    table = table.sort("id")
    seen = table["seen"].to_numpy()
    position = np.zeros(int(seen.max()) + 1, dtype=np.uint32)
    position[seen] = np.arange(len(seen), dtype=np.uint32)
    return position[physical], table["id"]


def _to_seconds(
    source: Source, time: NDArray[np.int64] | None, unit: str
) -> NDArray[np.int64] | None:
    """Turn times into seconds, and refuse implausible years."""
    if time is None or unit == "order":
        return time
    seconds = time // TIME_UNITS[unit] if TIME_UNITS[unit] > 1 else time
    for extreme in (int(seconds.min()), int(seconds.max())):
        year = 1970 + extreme / _YEAR
        if not _FIRST_YEAR <= year < _LAST_YEAR:
            raise InputError(
                f"{source.path}: column {source.columns['time']}: {extreme * TIME_UNITS[unit]} "
                f"read as {unit} lies in the year {year:.0f}; give `time_unit` "
                f"{', '.join(TIME_UNITS)}, or order if the numbers are not dates"
            )
    return seconds


def _explain(source: Source, error: BaseException) -> str:
    detail = first_line(error)
    if "utf-8" in detail.lower() or "utf8" in detail.lower():
        return "not UTF-8 text; convert it, such as with iconv"
    if "more fields" in detail:
        return (
            f"a line has more fields than the first, separated at {source.separator!r}; correct "
            "it, or give `separator`"
        )
    if "end of file" in detail.lower() or "corrupt" in detail.lower():
        return f"the file is cut off, or damaged ({detail}); get it again"
    return f"cannot be read ({detail})"
