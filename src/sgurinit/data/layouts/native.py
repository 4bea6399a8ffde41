"""The layout of this library: Parquet tables and NumPy files, with all ids.

::

    dataset.json              {"format": "sgurinit-dataset", "version": 1, "name": ...,
                               "modalities": ["image", ...]}
    users.parquet             column user: the external id of every user, in order of position;
                              other columns are optional
    items.parquet             column item: the external id of every item, in order of position;
                              other columns, such as title, are optional
    interactions.parquet      columns user, item (external ids) and split (train, valid, test);
                              value and time (seconds, with fractions if they are known) are
                              optional
    features/<modality>.npy   shape (n_items, d), float16 / 32 / 64 or bfloat16; row n
                              belongs to row n of items.parquet; a row of NaN: no features

Ids are strings or integers. `interactions.parquet` has ids instead of positions, so its rows may be
in any order. Users and items without interactions are kept in their own tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import override

from sgurinit.core.inputs.features import ItemFeatures, widen_bfloat16
from sgurinit.core.stream.id_columns import parse_ids
from sgurinit.data.dataset import MODALITY_NAME, SPLITS, Dataset, Interactions
from sgurinit.data.layouts.base import WritableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents, ids_to_array
from sgurinit.data.layouts.feature_files import read_features
from sgurinit.data.layouts.tables import (
    check_interactions,
    parse_splits,
    read_ids,
    read_parquet,
    read_parquet_table,
)
from sgurinit.errors import InputError
from sgurinit.files import new_folder, write_text

_MANIFEST = "dataset.json"
_INTERACTIONS = "interactions.parquet"
_IDS = {"user": "users.parquet", "item": "items.parquet"}


class Manifest(BaseModel):
    """Contents of `dataset.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["sgurinit-dataset"] = "sgurinit-dataset"
    """Identifies the format."""

    version: Literal[1] = 1
    """Version of the layout."""

    name: str = Field(min_length=1)
    """Name of the data set."""

    modalities: tuple[Annotated[str, Field(pattern=MODALITY_NAME)], ...]
    """Names of the files in `features`, without `.npy`; empty before features are made."""


class Native(WritableLayout):
    """`dataset.json`, `users`, `items` and `interactions.parquet`, `features/<modality>.npy`."""

    name = "native"
    expected_files = f"{_MANIFEST}, {_INTERACTIONS}"
    capabilities = Capabilities()

    def find_evidence(self, folder: Path) -> str | None:
        """Name the files of this layout in the folder."""
        return ", ".join(f for f in (_MANIFEST, _INTERACTIONS) if (folder / f).is_file()) or None

    def read(self, folder: Path) -> Dataset:
        """Read the data set. For errors, see `Layout.read`."""
        manifest = _read_manifest(folder / _MANIFEST)
        ids = {what: read_ids(folder / file, what) for what, file in _IDS.items()}
        splits = _read_splits(folder / _INTERACTIONS, ids)
        files = {m: folder / "features" / f"{m}.npy" for m in manifest.modalities}
        return Dataset(
            name=manifest.name,
            layout=self.name,
            **splits,
            features=read_features(files, len(ids["item"]), absent_rows=True),
            user_ids=ids_to_array(ids["user"]),
            item_ids=ids_to_array(ids["item"]),
        )

    @override
    def contents(self, folder: Path) -> Contents:
        dataset = self.read(folder)  # with all checks
        tables = {what: read_parquet_table(folder / file) for what, file in _IDS.items()}
        for what, known in tables.items():
            tables[what] = known.with_columns(read_ids(folder / _IDS[what], what))
        table = read_parquet_table(folder / _INTERACTIONS)
        table = table.with_columns(pl.col("split").cast(pl.String))
        log = check_interactions(folder / _INTERACTIONS, table, 0)
        others = [column for column in table.columns if column not in log.columns]
        return Contents(
            name=dataset.name,
            interactions=log,
            users=tables["user"].select("user", pl.exclude("user")),
            items=tables["item"].select("item", pl.exclude("item")),
            features=dataset.features,
            left_out=(f"{_INTERACTIONS}: columns {', '.join(others)}",) if others else (),
        )

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        write_native_files(
            folder,
            contents.name,
            interactions=contents.interactions.lazy(),
            users=contents.users,
            items=contents.items,
            features=contents.features,
        )


def write_native(dataset: Dataset, path: str | Path) -> Path:
    """Write a data set in the native layout.

    The folder is written atomically: it is filled under a hidden name and renamed at the end.

    Parameters
    ----------
    dataset : Dataset
        The data set. Reading it back gives the same fingerprint.
    path : str or Path
        Folder to create. It must not exist, or be empty. Missing parent folders are created.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If `path` exists and is not empty, or cannot be written.

    See Also
    --------
    load_dataset : Load a data set from a folder.
    sgurinit.data.convert.convert : Write any layout, with ratings, times and titles.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data import load_dataset, planted, write_native
    >>> dataset = planted(200, 100)
    >>> with TemporaryDirectory() as folder:
    ...     path = write_native(dataset, Path(folder, "small"))
    ...     same = load_dataset(path).fingerprint == dataset.fingerprint
    >>> same
    True
    """
    with new_folder(Path(path)) as folder:
        Native().write(Contents.from_dataset(dataset), folder)
    return Path(path)


def write_native_files(
    folder: Path,
    name: str,
    *,
    interactions: pl.LazyFrame,
    users: pl.DataFrame,
    items: pl.DataFrame,
    features: Mapping[str, ItemFeatures] | None = None,
) -> None:
    """Write the files of the native layout into an existing folder.

    Parameters
    ----------
    folder : Path
        The folder.
    name : str
        Name of the data set.
    interactions : LazyFrame
        Columns user, item, split, and any others. They are streamed to disk, never fully in memory.
    users, items : DataFrame
        Column user or item, in order of position, and any others.
    features : mapping of str to ItemFeatures, optional
        Features by modality.
    """
    manifest = Manifest(name=name, modalities=tuple(features or ()))
    write_text(folder / _MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    users.write_parquet(folder / _IDS["user"])
    items.write_parquet(folder / _IDS["item"])
    interactions.sink_parquet(folder / _INTERACTIONS)
    (folder / "features").mkdir()
    for modality, feature in (features or {}).items():
        np.save(folder / "features" / f"{modality}.npy", _mark_absent_rows(feature))


def read_modalities(folder: Path) -> tuple[str, ...]:
    """Return the names of the modalities of a data set."""
    return _read_manifest(folder / _MANIFEST).modalities


def register_modality(folder: Path, modality: str) -> None:
    """Add a modality to `dataset.json`, once its file is complete."""
    manifest = _read_manifest(folder / _MANIFEST)
    names = tuple(sorted({*manifest.modalities, modality}))
    whole = manifest.model_copy(update={"modalities": names})
    write_text(folder / _MANIFEST, whole.model_dump_json(indent=2) + "\n")


def _mark_absent_rows(feature: ItemFeatures) -> NDArray[Any]:
    if feature.present is None:
        return widen_bfloat16(feature.values)
    values = np.array(widen_bfloat16(feature.values))
    values[~feature.present] = np.nan
    return values


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {place}: {' '.join(first['msg'].split())}") from None


def _read_splits(path: Path, ids: dict[str, pl.Series]) -> dict[str, Interactions]:
    table = read_parquet(path, ["user", "item", "split"])
    places = {what: _find_positions(path, table[what], known) for what, known in ids.items()}
    labels = parse_splits(path, table["split"], 0)
    splits = {}
    for split in SPLITS:
        rows = (labels == split).to_numpy()
        splits[split] = Interactions(places["user"][rows], places["item"][rows])
    return splits


def _find_positions(path: Path, column: pl.Series, known: pl.Series) -> NDArray[np.int64]:
    """Return the position of each id in the table of ids."""
    what = column.name
    column = parse_ids(column, path, lambda row: f"{path}: row {row}")
    if column.dtype != known.dtype:
        raise InputError(
            f"{path}: {what} is {column.dtype} but {known.dtype} in {_IDS[what]}; use one type"
        )
    lookup = known.to_frame().with_row_index("position")
    found = column.to_frame().join(lookup, on=what, how="left", maintain_order="left")["position"]
    unknown = found.is_null()
    if unknown.any():
        at = unknown.arg_true()[0]
        raise InputError(
            f"{path}: row {at}: {what} id {column[at]} is not one of the {len(known)} ids in "
            f"{_IDS[what]}; add it there or remove the row"
        )
    return found.to_numpy().astype(np.int64)
