"""Values of the items, such as genres and brands, from columns of `items.parquet`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sgurinit.data.encode._items import item_column
from sgurinit.data.layouts.tables import holds_values
from sgurinit.errors import InputError

_TEXT = (pl.String, pl.Categorical, pl.Enum, pl.Null)


def read_attribute_values(
    folder: Path, items: pl.DataFrame, attributes: Sequence[str], separator: str | None
) -> pl.DataFrame:
    """Return the values of all items in some columns.

    Parameters
    ----------
    folder : Path
        Folder of the data set, for messages.
    items : DataFrame
        The table of items.
    attributes : sequence of str
        Names of the columns, at least one.
    separator : str, optional
        What separates the values in a text. Default: the whole text is one value.

    Returns
    -------
    DataFrame
        The columns row (position of the item), column (name of the attribute) and value (text),
        without repetition, in any order. Values are stripped of spaces; empty ones are left out.

    Raises
    ------
    InputError
        If `attributes` is empty, repeats a column, or names a missing one or one of another type,
        or if `separator` is empty or does not fit a column.
    """
    if not attributes:
        raise InputError(
            "attributes: no column is named; give one or more columns of items.parquet"
        )
    if repeated := {name for name in attributes if attributes.count(name) > 1}:
        raise InputError(f"attributes: column {min(repeated)!r} is named twice; name it once")
    if separator == "":
        raise InputError(
            "separator is '': one or more characters are expected; leave it out if every text is "
            "one value"
        )
    parts = []
    for name in attributes:
        values = _split(folder, item_column(folder, items, name), items["item"], separator)
        part = pl.DataFrame({"row": pl.int_range(len(items), eager=True), "value": values})
        part = part.explode("value") if values.dtype.is_nested() else part
        parts.append(part.select("row", "value", column=pl.lit(name)))
    table = pl.concat(parts).with_columns(pl.col("value").str.strip_chars())
    return table.filter(pl.col("value") != "").unique()


def _split(folder: Path, column: pl.Series, ids: pl.Series, separator: str | None) -> pl.Series:
    """Return the values of each item: text, or lists of text."""
    file, name, dtype = folder / "items.parquet", column.name, column.dtype
    if holds_values(dtype):
        lists = column.cast(pl.List(pl.String))
    elif isinstance(dtype, _TEXT):
        text = column.cast(pl.String).str.strip_chars().replace("", None)
        if not _holds_written_lists(text):
            return text if separator is None else text.str.split(separator)
        lists = _parse_lists(file, text, ids)
    elif dtype.is_integer() or dtype == pl.Boolean:
        return column.cast(pl.String)
    else:
        raise InputError(
            f"{file}: column {name} is {dtype}; text, whole numbers, or lists of them are expected"
        )
    if separator is not None:
        raise InputError(
            f"{file}: column {name} holds lists, which have no separator; leave `separator` out, "
            f"and encode columns that need it as another `modality`"
        )
    return lists


def _holds_written_lists(text: pl.Series) -> bool:
    """Tell whether every text is a list, such as ``['Merlot', 'Syrah']``."""
    written = text.str.starts_with("[") & text.str.ends_with("]")
    return written.count() > 0 and bool(written.all())


def _parse_lists(file: Path, text: pl.Series, ids: pl.Series) -> pl.Series:
    lists: list[list[str] | None] = []
    for item, written in zip(ids, text, strict=True):
        try:
            found = None if written is None else ast.literal_eval(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found = ()
        if not (found is None or isinstance(found, list)) or not all(
            isinstance(value, str | int) for value in found or ()
        ):
            raise InputError(
                f"{file}: column {text.name}: {written[:60]!r} of item {item!r} is not a list of "
                "text or whole numbers, such as ['a', 'b']; correct it, or remove the brackets"
            )
        lists.append(None if found is None else [str(value) for value in found])
    return pl.Series(text.name, lists, dtype=pl.List(pl.String))
