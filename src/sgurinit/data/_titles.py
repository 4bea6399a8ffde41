"""Titles of items."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sgurinit.data.layouts.tables import holds_values, read_parquet_table, to_text
from sgurinit.data.shipped import dataset_folder

_FILE = "items.parquet"


def item_titles(source: str | Path | None) -> dict[str, str]:
    """Read the titles of a data set's items.

    Only the native layout has titles, in column ``title`` of ``items.parquet``.

    Parameters
    ----------
    source : str, Path or None
        The folder that the data set was loaded from, or the name of a shipped data set.

    Returns
    -------
    dict of str to str
        Title by external item id, as text. Empty if there are no titles.

    Raises
    ------
    InputError
        If the table of items is damaged.

    See Also
    --------
    load_dataset : Load a data set from a folder.

    Examples
    --------
    >>> from sgurinit.data import item_titles
    >>> item_titles("xwines")["100001"]
    'Espumante Moscatel'
    """
    path = None if source is None else dataset_folder(source) / _FILE
    if path is None or not path.is_file():
        return {}
    table = read_parquet_table(path)
    if not {"item", "title"} <= set(table.columns) or not _can_be_text(table["title"].dtype):
        return {}
    titles = table.select(pl.col("item").cast(pl.String), to_text(table["title"])).drop_nulls()
    return dict(titles.iter_rows())


def _can_be_text(dtype: pl.DataType) -> bool:
    return holds_values(dtype) or not (dtype.is_nested() or dtype == pl.Binary)
