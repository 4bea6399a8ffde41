"""Columns of external ids in files: which values can be ids, and as what they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from sgurinit.errors import InputError

MOST_ID_BYTES = 1000
"""Largest size of an id as UTF-8 text. Arrays of ids have room for the longest in every row."""

_SHOWN = 40
_MARK = "\ufeff"


def parse_ids(values: pl.Series, file: Path, name_row: Callable[[int], str]) -> pl.Series:
    """Return a column of external ids as integers or as text.

    Parameters
    ----------
    values : Series
        Ids: integers of any type, text, or categories of text. Nulls are kept.
    file : Path
        The file, for messages.
    name_row : callable
        Returns the file and the row for messages, from the number of the row in `values`.

    Returns
    -------
    Series of Int64 or String
        The ids, unchanged.

    Raises
    ------
    InputError
        If the column is of another type, an integer is beyond 64 bits with a sign, or a text is
        longer than `MOST_ID_BYTES`, ends with NUL or begins with a byte order mark. The message
        names the row.
    """
    if values.dtype.is_integer():
        whole = values.cast(pl.Int64, strict=False)
        if at := _first(whole.is_null() & values.is_not_null()):
            raise InputError(
                f"{name_row(at - 1)}: {values.name} {values[at - 1]} is beyond 64 bits with a "
                "sign; convert the column to text"
            )
        return whole
    if not is_text(values.dtype):
        raise InputError(
            f"{file}: column {values.name} is {values.dtype}; ids are text or integers"
        )
    text = values.cast(pl.String)
    if at := _first(text.str.len_bytes() > MOST_ID_BYTES):
        raise InputError(
            f"{name_row(at - 1)}: the {values.name} that begins with {text[at - 1][:_SHOWN]!r} has "
            f"{text.str.len_bytes()[at - 1]:,} bytes, at most {MOST_ID_BYTES:,} are allowed; "
            "shorten such ids, and check that no quote ran lines together"
        )
    if at := _first(text.str.ends_with("\0")):
        raise InputError(
            f"{name_row(at - 1)}: {values.name} {text[at - 1]!r} ends with NUL, which NumPy does "
            "not keep; remove it from the ids, and check that they stay different"
        )
    if at := _first(text.str.starts_with(_MARK)):
        raise InputError(
            f"{name_row(at - 1)}: {values.name} {text[at - 1]!r} begins with a byte order mark, "
            "which is not part of an id; remove it"
        )
    return text


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds text, or categories of text."""
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def _first(wrong: pl.Series) -> int:
    """Return the number of the first row that is wrong, counted from 1, or 0."""
    return int(wrong.fill_null(value=False).arg_max() or 0) + 1 if wrong.any() else 0
