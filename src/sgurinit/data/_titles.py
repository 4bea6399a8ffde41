"""Titles of items."""

from __future__ import annotations

from pathlib import Path

import polars as pl

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
    table = pl.read_parquet(path, glob=False)
    if not {"item", "title"} <= set(table.columns):
        return {}
    titles = table.select(pl.col("item", "title").cast(pl.String)).drop_nulls()
    return dict(titles.iter_rows())
