"""What is known about items becomes features: text, images, or vectors that are there already."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.dataset import MODALITY_NAME
from sgurinit.data.encode.blocks import Encoder, encode_blocks
from sgurinit.data.encode.vectors import read_vectors
from sgurinit.data.layouts.native import add_modality, modalities
from sgurinit.data.layouts.registry import recognise
from sgurinit.data.layouts.tables import read_ids
from sgurinit.errors import InputError
from sgurinit.files import write_json, write_table
from sgurinit.progress import ProgressCallback, no_progress

__all__ = ["Encoded", "Encoder", "encode", "image_files", "join_vectors", "texts"]

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_ROWS = 4096


@dataclass(frozen=True)
class Encoded:
    """What became of the items."""

    modality: str
    """Name of the features."""
    encoder: str
    """What they come from."""
    width: int
    """Numbers per item."""
    items: int
    """Items that have a vector."""
    missing: dict[str, int]
    """Items that have none, by reason; ``features/<modality>.missing.csv`` lists them."""
    unknown: int = 0
    """Vectors of items that are not in the data, which were left out."""


def texts(path: str | Path, columns: Sequence[str]) -> list[str | None]:
    """Join what some columns of `items.parquet` say about each item.

    Parameters
    ----------
    path : str or Path
        A data set in the native layout.
    columns : sequence of str
        Joined in this order by a full stop; what is empty is left out.

    Returns
    -------
    list of str or None
        None for an item of which they say nothing.

    Raises
    ------
    InputError
        If there is no such data set or column.
    """
    items = _items(Path(path))
    if not columns:
        raise InputError("columns: no column is named")
    for column in columns:
        if (kind := _require(Path(path), items, column).dtype).is_nested():
            raise InputError(
                f"{Path(path) / 'items.parquet'}: column {column} is {kind}; text or numbers are "
                "expected"
            )
    parts = items.select(pl.col(c).cast(pl.String).str.strip_chars() for c in columns)
    rows = (". ".join(part for part in row if part) for row in parts.iter_rows())
    return [row or None for row in rows]


def image_files(
    path: str | Path, folder: str | Path, column: str | None = None
) -> list[Path | None]:
    """Find the image of each item.

    Parameters
    ----------
    path : str or Path
        A data set in the native layout.
    folder : str or Path
        Where the images are: ``<item>.jpg``, ``.jpeg``, ``.png``, ``.webp``, ``.gif`` or ``.bmp``.
    column : str, optional
        Column of `items.parquet` with file names in the folder, where those are no ids.

    Returns
    -------
    list of Path or None
        None for an item that has no image.

    Raises
    ------
    InputError
        If there is no such data set, folder or column.
    """
    items, folder = _items(Path(path)), Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if column is not None:
        named = _require(Path(path), items, column).cast(pl.String)
        return [folder / name if name else None for name in named.to_list()]
    there = {file.name for file in folder.iterdir()}
    return [
        next((folder / f"{item}{s}" for s in _IMAGES if f"{item}{s}" in there), None)
        for item in items["item"].cast(pl.String).to_list()
    ]


def encode(
    path: str | Path,
    modality: str,
    values: Sequence[Any],
    encoder: Encoder[Any],
    *,
    replace: bool = False,
    progress: ProgressCallback = no_progress,
) -> Encoded:
    """Add features to a data set of the native layout.

    Vectors are kept block by block; a call that is stopped goes on where it was when it is made
    again. Items without a value, and those whose value cannot be encoded, get no vector: a row of
    NaN in the file, and a line with the reason in ``features/<modality>.missing.csv``.

    Parameters
    ----------
    path : str or Path
        The folder.
    modality : str
        Name of the new features.
    values : sequence
        Per item, in order, what the encoder takes, or None; see `texts` and `image_files`.
    encoder : Encoder
        Such as ``sgurinit.data.encode.text.TextEncoder()``.
    replace : bool, default False
        Whether features of that name may be there already.
    progress : callable, optional
        Called with ``(stage, done, total)``.

    Returns
    -------
    Encoded

    Raises
    ------
    InputError
        If there are such features already, nothing can be encoded, or the encoder cannot go on.
    """
    folder = Path(path)
    items = _items(folder)
    _check(folder, modality, replace)
    if len(values) != len(items):
        raise InputError(f"{len(values)} values but {len(items)} items; one per item is expected")
    partial = folder / "features" / f".{modality}"
    vectors, state = encode_blocks(values, encoder, partial, progress)
    reasons = {n: "there is none" for n, value in enumerate(values) if value is None}
    reasons |= {int(n): why for n, why in state.failed.items()}
    if len(reasons) == len(items):
        vectors.unlink()
        partial.with_suffix(".json").unlink(missing_ok=True)
        raise InputError(
            f"{folder}: none of the {len(items)} items could be encoded, the first because: "
            f"{reasons[0]}"
        )
    rows = np.memmap(vectors, dtype="<f4", mode="r").reshape(-1, state.width)
    done = _save(folder, modality, encoder.name, rows=rows, items=items["item"], reasons=reasons)
    del rows
    vectors.unlink()
    partial.with_suffix(".json").unlink()
    return done


def join_vectors(
    path: str | Path,
    modality: str,
    vectors: str | Path,
    *,
    ids: str | Path | None = None,
    replace: bool = False,
) -> Encoded:
    """Add vectors that are there already, by id, to a data set of the native layout.

    Parameters
    ----------
    path, modality, replace
        As of `encode`.
    vectors : str or Path
        Parquet with a column ``item`` and one of lists of numbers; CSV or TSV with a column
        ``item`` and numbers in the others; or ``.npy``.
    ids : str or Path, optional
        Of a ``.npy`` file: text, the id of each row on a line.

    Returns
    -------
    Encoded

    Raises
    ------
    InputError
        As `encode`; or if a file is at fault, or none of its ids is known.
    """
    folder, file = Path(path), Path(vectors)
    items = _items(folder)["item"]
    _check(folder, modality, replace)
    known, values = read_vectors(file, None if ids is None else Path(ids), modality)
    lookup = pl.DataFrame({"_id": known}).with_row_index("row")
    wanted = pl.DataFrame({"_id": items.cast(pl.String)})
    found = wanted.join(lookup, on="_id", how="left", maintain_order="left")["row"]
    unknown = len(known) - found.count()
    if unknown == len(known):
        raise InputError(
            f"{file}: none of its {len(known)} ids is an item of the data: the first of them is "
            f"{known[0]!r}, the first item {items[0]!r}"
        )
    places = found.fill_null(0).to_numpy()
    empty = np.isnan(values).all(axis=1)
    gone = found.is_null().to_numpy()
    reasons = dict.fromkeys(np.flatnonzero(gone).tolist(), "no vector of this id")
    reasons |= dict.fromkeys(np.flatnonzero(empty[places] & ~gone).tolist(), "a vector of NaN")
    if len(reasons) == len(items):
        raise InputError(f"{file}: no item of the data has a vector of numbers")
    there = np.delete(places, list(reasons))
    return _save(
        folder,
        modality,
        file.name,
        rows=values[there],
        items=items,
        reasons=reasons,
        unknown=unknown,
    )


def _items(folder: Path) -> pl.DataFrame:
    found = recognise(folder).layout.name
    if found != "native":
        raise InputError(
            f"{folder}: layout {found}; features are made for the native one, so convert it first: "
            f"sgurinit convert {folder} OUT --to native"
        )
    read_ids(folder / "items.parquet", "item")  # its checks
    return pl.read_parquet(folder / "items.parquet", glob=False)


def _require(folder: Path, items: pl.DataFrame, column: str) -> pl.Series:
    if column not in items.columns:
        raise InputError(
            f"{folder / 'items.parquet'}: no column {column!r}; there are "
            f"{', '.join(map(repr, items.columns))}"
        )
    return items[column]


def _check(folder: Path, modality: str, replace: bool) -> None:
    if not re.fullmatch(MODALITY_NAME, modality):
        raise InputError(
            f"modality is {modality!r}: use letters, digits, '_', '-' and '.', beginning with a "
            "letter or a digit"
        )
    if modality in modalities(folder) and not replace:
        raise InputError(
            f"{folder}: has features {modality!r} already; give another `modality`, or `replace`"
        )


def _save(
    folder: Path,
    modality: str,
    encoder: str,
    *,
    rows: NDArray[Any],
    items: pl.Series,
    reasons: Mapping[int, str],
    unknown: int = 0,
) -> Encoded:
    """Write the file of all items, then what tells about it, and last the name of the modality."""
    whole = folder / "features" / f"{modality}.npy"
    partial = whole.with_name(f".{modality}.partial.npy")
    whole.parent.mkdir(exist_ok=True)
    try:
        kind = rows.dtype.newbyteorder("=")
        out = np.lib.format.open_memmap(partial, "w+", kind, (len(items), rows.shape[1]))
        for first in range(0, len(items), _ROWS):
            out[first : first + _ROWS] = np.nan
        there = np.delete(np.arange(len(items)), sorted(reasons))
        for first in range(0, len(there), _ROWS):
            out[there[first : first + _ROWS]] = rows[first : first + _ROWS]
        out.flush()
        del out
        os.replace(partial, whole)  # noqa: PTH105 - replaces an older file in one step
    finally:
        partial.unlink(missing_ok=True)
    counts = dict(Counter(re.sub(r" \(.*\)$", "", why) for why in reasons.values()))
    done = Encoded(modality, encoder, int(rows.shape[1]), len(there), counts, unknown)
    listed = whole.with_suffix(".missing.csv")
    places = sorted(reasons)
    if places:
        why = pl.Series("reason", [reasons[n] for n in places])
        write_table(listed, items.gather(places).alias("item").to_frame().with_columns(why))
    else:
        listed.unlink(missing_ok=True)
    write_json(whole.with_suffix(".json"), asdict(done) | {"sgurinit": version("sgurinit")})
    add_modality(folder, modality)
    return done
