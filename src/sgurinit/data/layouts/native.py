"""The layout of this project: Parquet tables and NumPy files that keep every id.

::

    dataset.json              {"format": "sgurinit-dataset", "version": 1, "name": ...,
                               "modalities": ["image", ...]}
    users.parquet             column user: the external id of every user, in order of position;
                              others as they are
    items.parquet             column item: the external id of every item, in order of position;
                              others, such as title, as they are
    interactions.parquet      columns user, item (external ids) and split (train, valid, test);
                              value and time (seconds) where known
    features/<modality>.npy   shape (n_items, d), float16 / 32 / 64 or bfloat16; row n
                              belongs to row n of items.parquet; NaN alone: the item has none

Ids are strings or integers. `interactions.parquet` names users and items by their ids, so its rows
may be in any order; users and items without interactions stay known through their own tables.
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

from sgurinit.core.inputs.features import ItemFeatures, widened
from sgurinit.data.dataset import MODALITY_NAME, SPLITS, Dataset, Interactions
from sgurinit.data.layouts.arrays import read_features
from sgurinit.data.layouts.base import WritableLayout
from sgurinit.data.layouts.capabilities import Holds
from sgurinit.data.layouts.contents import Contents, as_array
from sgurinit.data.layouts.tables import interactions, read_ids, read_parquet
from sgurinit.errors import InputError
from sgurinit.files import new_folder, write_text

_MANIFEST = "dataset.json"
_INTERACTIONS = "interactions.parquet"
_IDS = {"user": "users.parquet", "item": "items.parquet"}


class Manifest(BaseModel):
    """What `dataset.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["sgurinit-dataset"] = "sgurinit-dataset"
    """Always this word."""

    version: Literal[1] = 1
    """Version of the layout."""

    name: str = Field(min_length=1)
    """Name of the data set."""

    modalities: tuple[Annotated[str, Field(pattern=MODALITY_NAME)], ...]
    """Names of the files in `features`, without `.npy`; none before features are made."""


class Native(WritableLayout):
    """`dataset.json`, `users`, `items` and `interactions.parquet`, `features/<modality>.npy`."""

    name = "native"
    sought = f"{_MANIFEST}, {_INTERACTIONS}"
    holds = Holds()

    def sees(self, folder: Path) -> str | None:
        """Say which of the two files are there."""
        return ", ".join(f for f in (_MANIFEST, _INTERACTIONS) if (folder / f).is_file()) or None

    def read(self, folder: Path) -> Dataset:
        """Read the data set; `Layout.read` says what is raised."""
        manifest = _read_manifest(folder / _MANIFEST)
        ids = {what: read_ids(folder / file, what) for what, file in _IDS.items()}
        splits = _read_splits(folder / _INTERACTIONS, ids)
        files = {m: folder / "features" / f"{m}.npy" for m in manifest.modalities}
        return Dataset(
            name=manifest.name,
            layout=self.name,
            **splits,
            features=read_features(files, len(ids["item"]), absent_rows=True),
            user_ids=as_array(ids["user"]),
            item_ids=as_array(ids["item"]),
        )

    @override
    def contents(self, folder: Path) -> Contents:
        dataset = self.read(folder)  # its checks
        tables = {what: pl.read_parquet(folder / file, glob=False) for what, file in _IDS.items()}
        table = pl.read_parquet(folder / _INTERACTIONS, glob=False)
        table = table.with_columns(pl.col("split").cast(pl.String))
        log = interactions(folder / _INTERACTIONS, table, 0)
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
        write_parts(
            folder,
            contents.name,
            interactions=contents.interactions.lazy(),
            users=contents.users,
            items=contents.items,
            features=contents.features,
        )


def write_native(dataset: Dataset, path: str | Path) -> Path:
    """Write a data set in the native layout: all of it, or nothing.

    It is written into a hidden folder beside `path`, which takes the final name at the very end.

    Parameters
    ----------
    dataset : Dataset
        Any data set; reading it back gives one of the same fingerprint.
    path : str or Path
        The folder to make. It must not exist yet, or be empty; its parents are made.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If there is something at `path` already, or it cannot be written there.
    """
    with new_folder(Path(path)) as folder:
        Native().write(Contents.of(dataset), folder)
    return Path(path)


def write_parts(
    folder: Path,
    name: str,
    *,
    interactions: pl.LazyFrame,
    users: pl.DataFrame,
    items: pl.DataFrame,
    features: Mapping[str, ItemFeatures] | None = None,
) -> None:
    """Write the files of the layout into a folder that is there.

    Parameters
    ----------
    folder : Path
        Where they go.
    name : str
        Name of the data set.
    interactions : LazyFrame
        Columns user, item, split, and any others; written as they come, without being held.
    users, items : DataFrame
        Column user or item, in order of position, and any others.
    features : mapping of str to ItemFeatures, optional
        By modality.
    """
    manifest = Manifest(name=name, modalities=tuple(features or ()))
    write_text(folder / _MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    users.write_parquet(folder / _IDS["user"])
    items.write_parquet(folder / _IDS["item"])
    interactions.sink_parquet(folder / _INTERACTIONS)
    (folder / "features").mkdir()
    for modality, feature in (features or {}).items():
        np.save(folder / "features" / f"{modality}.npy", _with_nan_rows(feature))


def modalities(folder: Path) -> tuple[str, ...]:
    """Return the names of a data set's features."""
    return _read_manifest(folder / _MANIFEST).modalities


def add_modality(folder: Path, modality: str) -> None:
    """Name features whose file is in its place."""
    manifest = _read_manifest(folder / _MANIFEST)
    names = tuple(sorted({*manifest.modalities, modality}))
    whole = manifest.model_copy(update={"modalities": names})
    write_text(folder / _MANIFEST, whole.model_dump_json(indent=2) + "\n")


def _with_nan_rows(feature: ItemFeatures) -> NDArray[Any]:
    if feature.present is None:
        return widened(feature.values)
    values = np.array(widened(feature.values))
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
        raise InputError(f"{path}: {place}: {' '.join(first['msg'].split())}") from error


def _read_splits(path: Path, ids: dict[str, pl.Series]) -> dict[str, Interactions]:
    table = read_parquet(path, ["user", "item", "split"])
    places = {what: _places(path, table[what], known) for what, known in ids.items()}
    labels = table["split"].cast(pl.String)
    unknown = ~labels.is_in(SPLITS)
    if unknown.any():
        at = unknown.arg_true()[0]
        raise InputError(
            f"{path}: row {at}: split is {labels[at]!r}; allowed are {', '.join(SPLITS)}"
        )
    splits = {}
    for split in SPLITS:
        rows = (labels == split).to_numpy()
        splits[split] = Interactions(places["user"][rows], places["item"][rows])
    return splits


def _places(path: Path, column: pl.Series, known: pl.Series) -> NDArray[np.int64]:
    """Return the position of each id in the table of known ids."""
    what = column.name
    if column.dtype != known.dtype:
        raise InputError(
            f"{path}: {what} is {column.dtype} but {known.dtype} in {_IDS[what]}; write both alike"
        )
    lookup = known.to_frame().with_row_index("place")
    found = column.to_frame().join(lookup, on=what, how="left", maintain_order="left")["place"]
    unknown = found.is_null()
    if unknown.any():
        at = unknown.arg_true()[0]
        raise InputError(
            f"{path}: row {at}: {what} id {column[at]} is not one of the {len(known)} ids in "
            f"{_IDS[what]}; add it there or remove the row"
        )
    return found.to_numpy().astype(np.int64)
