"""The table of items of a data set in the native layout."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sgurinit.data.layouts.registry import recognize_layout
from sgurinit.data.layouts.tables import read_ids, read_parquet_table
from sgurinit.errors import InputError


def read_items(folder: Path) -> pl.DataFrame:
    """Read `items.parquet` and check its ids.

    Raises
    ------
    InputError
        If the folder is not in the native layout, or the file is faulty.
    """
    layout = recognize_layout(folder).layout.name
    if layout != "native":
        raise InputError(
            f"{folder}: the layout is {layout}; features are added to data sets in the native "
            "layout only, so convert it to native first"
        )
    read_ids(folder / "items.parquet", "item")  # for its checks
    return read_parquet_table(folder / "items.parquet")


def item_column(folder: Path, items: pl.DataFrame, column: str) -> pl.Series:
    """Return a column of the table of items.

    Raises
    ------
    InputError
        If there is no such column.
    """
    if column not in items.columns:
        raise InputError(
            f"{folder / 'items.parquet'}: no column {column!r}; the columns are "
            f"{', '.join(map(repr, items.columns))}"
        )
    return items[column]
