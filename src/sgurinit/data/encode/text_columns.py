"""Text of the items, from columns of `items.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sgurinit.data.encode._items import item_column, read_items
from sgurinit.data.layouts.tables import holds_values, to_text
from sgurinit.errors import InputError


def join_text_columns(path: str | Path, columns: Sequence[str]) -> list[str | None]:
    """Join some columns of `items.parquet` into one text per item.

    Parameters
    ----------
    path : str or Path
        Folder of a data set in the native layout.
    columns : sequence of str
        Names of the columns, at least one. Their values are joined in this order with ``". "``,
        and those of a list with ``", "``. Empty values are skipped.

    Returns
    -------
    list of str or None
        One text per item, in order of position. None for an item whose columns are all empty.

    Raises
    ------
    InputError
        If `path` does not hold a data set in the native layout, or if `columns` is empty or names a
        missing column or one of vectors.

    See Also
    --------
    encode : Turn the texts into features.
    find_images : The same for images.
    encode_attributes : Values such as genres and brands, as features without a model.

    Examples
    --------
    >>> from sgurinit.data.encode import join_text_columns
    >>> from sgurinit.data.shipped import SHIPPED
    >>> join_text_columns(SHIPPED["xwines"], ["title", "type", "country"])[0]
    'Espumante Moscatel. Sparkling. Brazil'
    """
    items = read_items(Path(path))
    if not columns:
        raise InputError("columns: no column is named; give one or more columns of items.parquet")
    for column in columns:
        dtype = item_column(Path(path), items, column).dtype
        if dtype.is_nested() and not holds_values(dtype):
            raise InputError(
                f"{Path(path) / 'items.parquet'}: column {column} is {dtype}; text, numbers, or "
                "lists of text are expected"
            )
    parts = items.select(to_text(items[c]).str.strip_chars() for c in columns)
    rows = (". ".join(part for part in row if part) for row in parts.iter_rows())
    return [row or None for row in rows]
