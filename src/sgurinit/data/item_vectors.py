"""Item vectors in files: columns of lists in Parquet files, and NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.stream.id_columns import parse_ids
from sgurinit.data.layouts.feature_files import read_array, read_features
from sgurinit.data.layouts.tables import (
    align_features,
    read_ids,
    read_parquet,
    read_parquet_table,
    read_parquet_types,
)
from sgurinit.errors import InputError

_EXACT_IN_FLOAT32 = (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)


def read_item_features(
    files: Mapping[str, Path], item_ids: Path | None = None, item: str = "item"
) -> tuple[dict[str, ItemFeatures], pl.Series | None]:
    """Read the features of several modalities, aligned by item.

    Parameters
    ----------
    files : mapping of str to Path
        Modality to file. A ``.npy`` file has one row per item, and a row of NaN for an item without
        features. A ``.parquet`` file has a column of ids, and the vectors in a column named after
        the modality or in its only column of lists of numbers.
    item_ids : Path, optional
        Parquet file with the item ids in the order of the rows of the ``.npy`` files. Default: the
        ids of the first Parquet file with vectors. Without ``.npy`` files, the items are those in
        this file and in all files with vectors together, and it may repeat ids, as a log does.
    item : str, default "item"
        Column name of the item ids.

    Returns
    -------
    features : dict of str to ItemFeatures
        Features of ``.npy`` files are memory-mapped, others are in memory.
    ids : Series or None
        Ids of the items. None if no file has ids.

    Raises
    ------
    InputError
        If a file is faulty, or the ids of the files are of different types.

    See Also
    --------
    read_vector_column : Vectors of one Parquet file.

    Examples
    --------
    >>> import polars as pl
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data.item_vectors import read_item_features
    >>> table = pl.DataFrame({"item": ["tea", "cup"], "text": [[0.5, 1.0], [2.0, 0.0]]})
    >>> with TemporaryDirectory() as folder:
    ...     table.write_parquet(Path(folder, "items.parquet"))
    ...     features, ids = read_item_features({"text": Path(folder, "items.parquet")})
    >>> features["text"], ids.to_list()
    (ItemFeatures(2 x 2 float64), ['tea', 'cup'])
    """
    tables = [file for file in files.values() if file.suffix == ".parquet"]
    source = item_ids or next(iter(tables), None)
    arrays = {name: file for name, file in files.items() if file not in tables}
    ids = None
    if not arrays:
        ids = _collect_item_ids(item_ids, tables, item)
    elif source is not None:
        ids = read_ids(_with_id_column(source, item), item)
    n_items = len(read_array(next(iter(arrays.values())))) if ids is None else len(ids)
    mapped = read_features(arrays, n_items, absent_rows=True)
    features = {}
    for modality, path in files.items():
        if modality in mapped:
            features[modality] = mapped[modality]
        else:
            assert ids is not None  # noqa: S101 - there is a Parquet file
            vectors = read_vector_column(path, modality, item)
            features[modality] = align_features(path, *vectors, ids)
    return features, ids


def read_vector_column(path: Path, name: str, item: str) -> tuple[pl.Series, NDArray[Any]]:
    """Read the vectors of a Parquet file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Name of the modality. Also the column with the vectors if several hold lists of numbers.
    item : str
        Column name of the item ids.

    Returns
    -------
    ids : Series
        Ids of the items with a vector.
    vectors : ndarray of float, shape (n, d)
        One row per id.

    Raises
    ------
    InputError
        If the file, a column or a vector is faulty.

    See Also
    --------
    read_item_features : Features of several modalities.
    """
    given = read_parquet(_with_id_column(path, item), [item])[item]
    ids = parse_ids(given, path, lambda row: f"{path}: row {row}")
    schema = read_parquet_types(path)
    found = [column for column, dtype in schema.items() if is_vector_type(dtype)]
    if name not in found and len(found) != 1:
        columns = f"several: {', '.join(found)}" if found else f"none: {', '.join(schema)}"
        raise InputError(
            f"{path}: expected the vectors in a column {name!r} of lists of numbers, or in the "
            f"only such column; there are {columns}"
        )
    column = read_parquet_table(path)[name if name in found else found[0]]
    present = column.is_not_null()
    return stack_vectors(path, ids.filter(present), column.filter(present))


def stack_vectors(path: Path, ids: pl.Series, vectors: pl.Series) -> tuple[pl.Series, NDArray[Any]]:
    """Stack a column of vectors into an array of shape (n, d), and return it with the ids.

    Raises
    ------
    InputError
        Naming the item whose vector has another width than the first, or a null; or if there is no
        vector.
    """
    if not len(vectors):
        raise InputError(f"{path}: the file has no vector; one or more are expected")
    widths = vectors.list.len() if vectors.dtype == pl.List else None
    if widths is not None and (widths != widths[0]).any():
        at = int((widths != widths[0]).arg_true()[0])
        raise InputError(
            f"{path}: the vector of item {ids[at]} has {widths[at]} numbers, that of {ids[0]} has "
            f"{widths[0]}; one width is expected"
        )
    inner: Any = vectors.dtype.inner  # type: ignore[attr-defined]
    fits = inner.is_float() or inner in _EXACT_IN_FLOAT32
    dtype = inner if inner.is_float() else pl.Float32 if fits else pl.Float64
    width = vectors.dtype.shape[0] if widths is None else widths[0]  # type: ignore[attr-defined]
    numbers = vectors.explode(empty_as_null=False).cast(dtype)
    if numbers.null_count():
        at = int(numbers.is_null().arg_true()[0]) // width
        raise InputError(f"{path}: the vector of item {ids[at]} lacks a number")
    return ids, np.ascontiguousarray(numbers.to_numpy().reshape(len(ids), width))


def is_vector_type(dtype: Any) -> bool:
    """Tell whether a column of this type holds lists of numbers."""
    return isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_numeric()


def _collect_item_ids(item_ids: Path | None, tables: Sequence[Path], item: str) -> pl.Series:
    """Return the ids in any of the files, in the order in which they come."""
    parts = {}
    if item_ids is not None:
        parts[item_ids] = read_ids(_with_id_column(item_ids, item), item, distinct=True)
    parts |= {path: read_ids(_with_id_column(path, item), item) for path in tables}
    kinds = {
        path: "integers" if own.dtype.is_integer() else "strings" for path, own in parts.items()
    }
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{kind} in {path}" for path, kind in kinds.items())
        raise InputError(f"item ids are {found}; give ids of one type")
    together = pl.concat((own.to_frame() for own in parts.values()), how="vertical_relaxed")
    return together[item].unique(maintain_order=True)


def _with_id_column(path: Path, item: str) -> Path:
    """Check that a file has the column of ids."""
    found = read_parquet_types(path)
    if item not in found:
        raise InputError(
            f"{path}: no column {item!r}, the file has {', '.join(found)}; name the column of item "
            "ids as `item`, or rename it"
        )
    return path
