"""Image files of the items."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sgurinit.data.encode._items import item_column, read_items
from sgurinit.errors import InputError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def find_images(
    path: str | Path, folder: str | Path, column: str | None = None
) -> list[Path | None]:
    """Find the image file of each item.

    Parameters
    ----------
    path : str or Path
        Folder of a data set in the native layout.
    folder : str or Path
        Folder with the images. Without `column`, the image of an item is the file ``<item id>``
        with one of the suffixes .jpg, .jpeg, .png, .webp, .gif and .bmp.
    column : str, optional
        Column of `items.parquet` with file names inside `folder`, for images that are not named by
        item id.

    Returns
    -------
    list of Path or None
        One file per item, in order of position. None for an item without an image. With `column`,
        the files are not checked for existence.

    Raises
    ------
    InputError
        If `path` does not hold a data set in the native layout, or `folder` or `column` is missing.

    See Also
    --------
    encode : Turn the images into features.
    join_text_columns : The same for text.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data.encode import find_images
    >>> from sgurinit.data.shipped import SHIPPED
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "100001.jpg").touch()
    ...     files = find_images(SHIPPED["xwines"], folder)
    >>> files[0].name, files[1]
    ('100001.jpg', None)
    """
    items, folder = read_items(Path(path)), Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder with the images")
    if column is not None:
        names = item_column(Path(path), items, column).cast(pl.String)
        return [folder / name if name else None for name in names.to_list()]
    existing = {file.name for file in folder.iterdir()}
    return [
        next((folder / f"{item}{s}" for s in _SUFFIXES if f"{item}{s}" in existing), None)
        for item in items["item"].cast(pl.String).to_list()
    ]
