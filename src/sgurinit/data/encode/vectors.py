"""Existing vectors, joined to items by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.encode._items import read_items
from sgurinit.data.encode.features import EncodedFeatures, check_modality, save_features
from sgurinit.data.item_vectors import read_vector_column
from sgurinit.data.layouts.feature_files import read_array
from sgurinit.data.layouts.tables import parse_numbers, read_text_table, refuse_row_numbers
from sgurinit.errors import InputError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def join_vectors(
    path: str | Path,
    modality: str,
    vectors: str | Path,
    *,
    ids: str | Path | None = None,
    overwrite: bool = False,
) -> EncodedFeatures:
    """Add existing vectors to a data set in the native layout, joined by item id.

    Parameters
    ----------
    path : str or Path
        Folder of a data set in the native layout.
    modality : str
        Name of the new modality, fit for a file name.
    vectors : str or Path
        A Parquet file with a column ``item`` and a column of lists of numbers, a CSV or TSV file
        with a column ``item`` and numbers in all other columns, or a ``.npy`` file of shape (n, d).
        A vector of NaN marks an item without one. Vectors of unknown items are left out.
    ids : str or Path, optional
        With a ``.npy`` file: text file with the item id of each row, one per line.
    overwrite : bool, default False
        Whether to replace features of the same name. Without it they are an error.

    Returns
    -------
    EncodedFeatures
        Counts of the items with and without a vector.

    Raises
    ------
    InputError
        If `path` does not hold a data set in the native layout, the modality exists already, a file
        is faulty, or none of its ids is an item of the data set.

    See Also
    --------
    encode : Make features with an encoder.

    Examples
    --------
    >>> import polars as pl
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data import load_dataset, planted, write_native
    >>> from sgurinit.data.encode import join_vectors
    >>> with TemporaryDirectory() as folder:
    ...     data = write_native(planted(200, 100), Path(folder, "data"))
    ...     table = pl.DataFrame({"item": ["i0001", "i0002"], "audio": [[0.5, 1.0], [2.0, 0.0]]})
    ...     table.write_parquet(Path(folder, "audio.parquet"))
    ...     done = join_vectors(data, "audio", Path(folder, "audio.parquet"))
    ...     features = load_dataset(data).features
    >>> features["audio"]
    ItemFeatures(100 x 2 float64, 98 without a row)
    """
    folder, file = Path(path), Path(vectors)
    items = read_items(folder)["item"]
    check_modality(folder, modality, overwrite)
    known, values = read_vectors(file, None if ids is None else Path(ids), modality)
    lookup = pl.DataFrame({"_id": known}).with_row_index("row")
    wanted = pl.DataFrame({"_id": items.cast(pl.String)})
    found = wanted.join(lookup, on="_id", how="left", maintain_order="left")["row"]
    unknown = len(known) - found.count()
    if unknown == len(known):
        raise InputError(
            f"{file}: none of its {len(known)} ids is an item of the data set; its first id is "
            f"{known[0]!r}, the first item is {items[0]!r}"
        )
    rows = found.fill_null(0).to_numpy()
    is_nan = np.isnan(values).all(axis=1)
    absent = found.is_null().to_numpy()
    reasons = dict.fromkeys(np.flatnonzero(absent).tolist(), "no vector with this id")
    reasons |= dict.fromkeys(np.flatnonzero(is_nan[rows] & ~absent).tolist(), "a vector of NaN")
    if len(reasons) == len(items):
        raise InputError(f"{file}: every vector of an item is NaN; give one or more of numbers")
    return save_features(
        folder,
        modality,
        file.name,
        rows=values[np.delete(rows, list(reasons))],
        items=items,
        reasons=reasons,
        unknown=unknown,
    )


def read_vectors(path: Path, ids: Path | None, name: str) -> tuple[list[str], NDArray[Any]]:
    """Read vectors and the ids of their items.

    Parameters
    ----------
    path : Path
        Parquet with a column ``item`` and a column of lists of numbers, CSV or TSV with a column
        ``item`` and numbers in all other columns, or ``.npy`` of shape (n, d).
    ids : Path, optional
        With a ``.npy`` file: text file with the item id of each row, one per line.
    name : str
        In a Parquet file with several columns of lists: the column with the vectors.

    Returns
    -------
    ids : list of str
        Item ids, without repetition.
    vectors : ndarray of float, shape (n, d)
        One row per id. A row of NaN stands for an item without a vector.

    Raises
    ------
    InputError
        If a file is faulty, an id is repeated, or a number is not finite.
    """
    if (path.suffix == ".npy") != (ids is not None):
        raise InputError(
            f"{path}: `ids` goes with a .npy file and names a text file with the item id of each "
            "row, one per line; other files have a column item"
        )
    if ids is not None:
        known, values = _read_lines(ids), read_array(path)
        if len(known) != len(values):
            raise InputError(f"{ids}: {len(known)} ids but {path.name} has {len(values)} rows")
    elif path.suffix == ".parquet":
        id_column, values = read_vector_column(path, name, "item")
        known = id_column.cast(pl.String).to_list()
    else:
        known, values = _read_text_vectors(path)
    column = pl.Series(known, dtype=pl.String)
    repeated = column.is_duplicated()
    if repeated.any():
        raise InputError(
            f"{ids or path}: item {column.filter(repeated)[0]!r} is repeated; give one vector each"
        )
    broken = ~np.isfinite(values).all(axis=1) & ~np.isnan(values).all(axis=1)
    if broken.any():
        item = known[int(broken.argmax())]
        raise InputError(
            f"{path}: the vector of item {item!r} has numbers that are not finite; only a vector "
            "of NaN throughout is allowed, for an item without one"
        )
    beyond = (abs(values) > np.finfo(np.float32).max).any(axis=1)
    if beyond.any():
        item = known[int(beyond.argmax())]
        raise InputError(
            f"{path}: the vector of item {item!r} has numbers that float32 cannot hold; scale the "
            "vectors, or remove this one"
        )
    return known, values


def _read_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text.removesuffix("\n").split("\n") if text else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file with one id per line ({error})") from None


def _read_text_vectors(path: Path) -> tuple[list[str], NDArray[Any]]:
    if path.suffix not in _SEPARATORS:
        raise InputError(f"{path}: expected .parquet, .csv, .tsv, or .npy with `ids`")
    table = read_text_table(path, _SEPARATORS[path.suffix], quoted=True)
    if "item" not in table.columns or len(table.columns) < 2 or not len(table):
        raise InputError(
            f"{path}: expected a column item, other columns with numbers, and at least one row; "
            f"the file has {', '.join(map(repr, table.columns))} and {len(table)} rows"
        )
    known = table["item"]
    if known.has_nulls():
        raise InputError(f"{path}: line {known.is_null().arg_true()[0] + 2}: item is missing")
    texts = table.drop("item")
    refuse_row_numbers(path, texts)
    empty_rows = texts.select(pl.all_horizontal(pl.all().is_null())).to_series()
    texts = texts.with_columns(pl.when(~empty_rows).then(pl.all()).otherwise(pl.lit("nan")))
    numbers = pl.DataFrame([parse_numbers(path, column) for column in texts])
    return known.to_list(), numbers.to_numpy()
