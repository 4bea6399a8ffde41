"""A log in memory: a code for every id, sixteen to twenty-four bytes an interaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.prepare.sources import Source, first_line
from sgurinit.errors import InputError

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Units of time, as parts of a second. Times of unit ``order`` tell the order and no date."""

_FIRST_YEAR, _LAST_YEAR = 1990, 2100


@dataclass(frozen=True, eq=False)
class Log:
    """Interactions with ids as codes.

    Parameters
    ----------
    users, items : ndarray of uint32, shape (n,)
        Places in `user_ids` and `item_ids`.
    value : ndarray of float64, shape (n,), or None
        Rating or count.
    time : ndarray of int64, shape (n,), or None
        Seconds since 1970, or any numbers in order.
    user_ids, item_ids : Series
        External ids, sorted; those that no interaction has any more are among them.
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
        """Return some of the interactions, by mask or by place."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            value=None if self.value is None else self.value[rows],
            time=None if self.time is None else self.time[rows],
        )


def read_log(source: Source, time_unit: str | None = None) -> Log:
    """Read a log; every value in it is checked.

    Parameters
    ----------
    source : Source
        Where it is.
    time_unit : str, optional
        ``s``, ``ms``, ``us``, ``ns`` or ``order``; the source's own without it.

    Raises
    ------
    InputError
        Naming the file, and the line and the column where a value is missing or is no number, or
        where times are not of their unit.
    """
    unit = time_unit or source.time_unit
    if unit not in (*UNITS, "order"):
        raise InputError(f"--time-unit {unit}: allowed are {', '.join(UNITS)}, order")
    scan = source.scan()
    try:
        whole = {role: dtype.is_integer() for role, dtype in scan.collect_schema().items()}
        spaces = {role: pl.Categories.random(role) for role in ("user", "item")}
        columns = [pl.col(r).cast(pl.String).cast(pl.Categorical(c)) for r, c in spaces.items()]
        columns += [_NUMBERS[role] for role in ("value", "time") if role in source.columns]
        table = scan.select(columns).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.path}: {_why(source, error)}") from error
    if table.is_empty():
        raise InputError(f"{source.path}: no interaction in it")
    codes: dict[str, tuple[NDArray[np.uint32], pl.Series]] = {}
    numbers: dict[str, NDArray[Any]] = {}
    for role in source.columns:
        column = table.get_column(role)
        table = table.drop(role)  # a column at a time is held twice
        _check(source, column)
        if role in spaces:
            codes[role] = _codes(column, whole[role])
        else:
            numbers[role] = column.to_numpy()
    return Log(
        users=codes["user"][0],
        items=codes["item"][0],
        value=numbers.get("value"),
        time=_seconds(source, numbers.get("time"), unit),
        user_ids=codes["user"][1],
        item_ids=codes["item"][1],
    )


# An integer where it is one, so that times in nanoseconds keep every digit.
_NUMBERS: Mapping[str, pl.Expr] = {
    "value": pl.col("value").cast(pl.Float64, strict=False),
    "time": pl.coalesce(
        pl.col("time").cast(pl.Int64, strict=False),
        pl.col("time").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False),
    ),
}


def _check(source: Source, column: pl.Series) -> None:
    """Refuse a value that is missing, or was no number."""
    wrong = column.is_null()
    if column.dtype.is_float():
        wrong |= ~column.is_finite()
    if not wrong.any():
        return
    at = int(wrong.arg_max() or 0)
    value = source.scan().slice(at, 1).select(column.name).collect().item()
    where = f"{source.path}: {source.line(at)}: {source.columns[column.name]}"
    if value is None or value == "":
        raise InputError(f"{where} is missing; fill it in, or remove the line")
    raise InputError(f"{where} is {value!r}; a finite number is expected")


def _codes(column: pl.Series, whole: bool) -> tuple[NDArray[np.uint32], pl.Series]:
    """Number the ids in their order."""
    physical = column.to_physical().to_numpy()
    distinct = column.unique()
    ids = distinct.cast(pl.String)
    table = pl.DataFrame(
        {"id": ids.cast(pl.Int64) if whole else ids, "seen": distinct.to_physical()}
    )
    table = table.sort("id")
    seen = table["seen"].to_numpy()
    place = np.zeros(int(seen.max()) + 1, dtype=np.uint32)
    place[seen] = np.arange(len(seen), dtype=np.uint32)
    return place[physical], table["id"]


def _seconds(source: Source, time: NDArray[np.int64] | None, unit: str) -> NDArray[np.int64] | None:
    """Turn times into seconds, and refuse such as lie in no year that has logs."""
    if time is None or unit == "order":
        return time
    seconds = time // UNITS[unit] if UNITS[unit] > 1 else time
    for extreme in (int(seconds.min()), int(seconds.max())):
        year = 1970 + extreme / 31_556_952
        if not _FIRST_YEAR <= year < _LAST_YEAR:
            raise InputError(
                f"{source.path}: column {source.columns['time']}: {extreme * UNITS[unit]} read "
                f"as {unit} lies in the year {year:.0f}; give --time-unit {', '.join(UNITS)}, "
                "or order where the numbers are no dates"
            )
    return seconds


def _why(source: Source, error: BaseException) -> str:
    said = first_line(error)
    if "utf-8" in said.lower():
        return "not UTF-8 text; convert it, such as with iconv"
    if "more fields" in said:
        return (
            f"a line has more fields than the first, separated at {source.separator!r}; mend it, "
            "or give --separator"
        )
    if "end of file" in said.lower() or "corrupt" in said.lower():
        return f"the file is cut off ({said}); get it again"
    return f"cannot be read ({said})"
