"""Item vectors in a column of a Parquet file, as encoders and warehouses leave them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data.dataset import MODALITY_NAME
from sgurinit.data.layouts.arrays import read_array, read_features
from sgurinit.data.layouts.tables import placed, read_ids, read_parquet
from sgurinit.errors import InputError


def named_features(
    assignments: Sequence[str], item_ids: Path | None = None, item: str = "item"
) -> tuple[dict[str, ItemFeatures], pl.Series | None]:
    """Read features given as ``NAME=FILE``.

    Parameters
    ----------
    assignments : sequence of str
        A ``.npy`` file has a row per item, and one of NaN alone for an item without any. A
        ``.parquet`` file has a column of ids and the vectors in a column ``NAME``, or in the only
        one that holds lists of numbers.
    item_ids : path, optional
        Parquet file whose column of ids says which items there are, in the order of the rows of
        ``.npy`` files; without it these are the items of the first Parquet file with vectors. Where
        there are no ``.npy`` files the items are all that it, or any file with vectors, names; an
        id may come again in it, so a log does.
    item : str
        The column of ids.

    Returns
    -------
    features : dict of str to ItemFeatures
        Those of ``.npy`` files are mapped from disk, others are in memory.
    ids : Series or None
        Ids of the items; None where nothing names them.

    Raises
    ------
    InputError
        An assignment has another form or comes twice, or a file is at fault.
    """
    files = assigned(assignments)
    tables = [file for file in files.values() if file.suffix == ".parquet"]
    source = item_ids or next(iter(tables), None)
    arrays = {name: file for name, file in files.items() if file not in tables}
    ids = None
    if not arrays:
        ids = _named(item_ids, tables, item)
    elif source is not None:
        ids = read_ids(_with_ids(source, item), item)
    n_items = len(read_array(next(iter(arrays.values())))) if ids is None else len(ids)
    mapped = read_features(arrays, n_items, absent_rows=True)
    features = {}
    for modality, path in files.items():
        if modality in mapped:
            features[modality] = mapped[modality]
        else:
            assert ids is not None  # noqa: S101 - there is a Parquet file
            features[modality] = placed(path, *item_vectors(path, modality, item), ids)
    return features, ids


def _named(item_ids: Path | None, tables: Sequence[Path], item: str) -> pl.Series:
    """All items that any of the files names, in the order in which they come."""
    parts = {}
    if item_ids is not None:
        parts[item_ids] = read_ids(_with_ids(item_ids, item), item, distinct=True)
    parts |= {path: read_ids(_with_ids(path, item), item) for path in tables}
    kinds = {
        path: "integers" if own.dtype.is_integer() else "strings" for path, own in parts.items()
    }
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{kind} in {path}" for path, kind in kinds.items())
        raise InputError(f"ids of items are {said}; they have to be of one kind")
    together = pl.concat((own.to_frame() for own in parts.values()), how="vertical_relaxed")
    return together[item].unique(maintain_order=True)


def assigned(assignments: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FILE`` for every modality.

    Raises
    ------
    InputError
        An assignment has another form or comes twice.
    """
    files: dict[str, Path] = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not (re.fullmatch(MODALITY_NAME, name) and equals and file) or name in files:
            raise InputError(
                f"features: {assignment!r} is not NAME=FILE.npy or NAME=FILE.parquet, each name "
                "once, such as text=text.npy"
            )
        files[name] = Path(file)
    return files


def item_vectors(path: Path, name: str, item: str) -> tuple[pl.Series, NDArray[Any]]:
    """Read the vectors of a Parquet file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The modality, also the column with the vectors where several hold lists of numbers.
    item : str
        The column of ids.

    Returns
    -------
    ids : Series
        Those of the items that have a vector.
    vectors : ndarray of float, shape (n, d)

    Raises
    ------
    InputError
        The file, a column or a vector is at fault.
    """
    ids = read_parquet(_with_ids(path, item), [item])[item]
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise InputError(f"{path}: column {item} is {ids.dtype}; ids are text or integers")
    schema = pl.read_parquet_schema(path)
    found = [column for column, kind in schema.items() if is_vector(kind)]
    if name not in found and len(found) != 1:
        said = f"several: {', '.join(found)}" if found else f"none: {', '.join(schema)}"
        raise InputError(
            f"{path}: expected the vectors in a column {name!r} of lists of numbers, or in the "
            f"only such column; there are {said}"
        )
    column = pl.read_parquet(path, columns=[name if name in found else found[0]]).to_series()
    there = column.is_not_null()
    return as_rows(path, ids.filter(there), column.filter(there))


def _with_ids(path: Path, item: str) -> Path:
    """See to it that a file has the column of ids, where it can be read at all."""
    with suppress(pl.exceptions.PolarsError, OSError):
        found = list(pl.read_parquet_schema(path))
        if item not in found:
            raise InputError(
                f"{path}: has no column {item!r}, it has {', '.join(found)}; name the one with the "
                "items' ids as `item`, or rename it"
            )
    return path


def as_rows(path: Path, ids: pl.Series, vectors: pl.Series) -> tuple[pl.Series, NDArray[Any]]:
    """Make an array of a column of vectors, shape (n, d), and return it with the ids.

    Raises
    ------
    InputError
        Naming the item whose vector is shorter or longer than the first, or lacks a number; or if
        there is no vector.
    """
    if not len(vectors):
        raise InputError(f"{path}: has no vector; one or more are expected")
    widths = vectors.list.len() if vectors.dtype == pl.List else None
    if widths is not None and (widths != widths[0]).any():
        at = int((widths != widths[0]).arg_true()[0])
        raise InputError(
            f"{path}: the vector of item {ids[at]} has {widths[at]} numbers, that of {ids[0]} "
            f"{widths[0]}; all need as many"
        )
    inner: Any = vectors.dtype.inner  # type: ignore[attr-defined]
    kind = inner if inner.is_float() else pl.Float32
    width = vectors.dtype.shape[0] if widths is None else widths[0]  # type: ignore[attr-defined]
    numbers = vectors.explode().cast(kind)
    if numbers.null_count():
        at = int(numbers.is_null().arg_true()[0]) // width
        raise InputError(f"{path}: the vector of item {ids[at]} lacks a number")
    return ids, np.ascontiguousarray(numbers.to_numpy().reshape(len(ids), width))


def is_vector(kind: Any) -> bool:
    """Tell whether a column of that type holds lists of numbers."""
    return isinstance(kind, pl.List | pl.Array) and kind.inner.is_numeric()
