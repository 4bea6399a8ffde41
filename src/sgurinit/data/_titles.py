"""Names of items for people to read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sgurinit.data.shipped import folder_of

_FILE = "items.parquet"


def item_titles(source: str | Path | None) -> dict[str, str]:
    """Read what the items of a data set are called.

    Parameters
    ----------
    source : str, Path or None
        Where the data set was loaded from: a folder, or the name of a shipped one.

    Returns
    -------
    dict
        Title by external id as text: of a folder in the native layout, column ``title`` of
        ``items.parquet``; empty where there is none.
    """
    path = None if source is None else folder_of(source) / _FILE
    if path is None or not path.is_file():
        return {}
    table = pl.read_parquet(path, glob=False)
    if not {"item", "title"} <= set(table.columns):
        return {}
    titles = table.select(pl.col("item", "title").cast(pl.String)).drop_nulls()
    return dict(titles.iter_rows())
