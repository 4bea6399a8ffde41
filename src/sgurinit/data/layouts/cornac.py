"""The layout of Cornac: tuples as text, and feature matrices with the ids of their rows.

``train``, ``valid`` and ``test`` have the suffix that is the `fmt` of ``cornac.data.Reader``:
``.ui``, ``.uir`` or ``.uirt``, user, item, rating, time with tabs between them and no header; a
rating that is not known is 1 where there are times. Row n of ``<modality>.npy`` belongs to the item
in line n of ``<modality>.ids``: ``FeatureModality(features=..., ids=...)``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.core.inputs.features import widened
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.arrays import read_array
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Holds
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.tables import interactions, known_ids, placed, read_text
from sgurinit.errors import InputError
from sgurinit.files import write_text

_NAMES = ("user", "item", "value", "time")
_SUFFIXES = {".ui": 2, ".uir": 3, ".uirt": 4}


class Cornac(TableLayout):
    """`train`, `valid`, `test` as `.ui`, `.uir` or `.uirt`; `<modality>.npy` and `.ids`."""

    name = "cornac"
    sought = "train.ui, train.uir or train.uirt"
    holds = Holds(ids="text", texts=False, lonely=False, breaks=False)

    @override
    def sees(self, folder: Path) -> str | None:
        return ", ".join(path.name for path in _logs(folder).values()) or None

    @override
    def contents(self, folder: Path) -> Contents:
        logs = _logs(folder)
        if "train" not in logs:
            raise InputError(f"{folder}: train.ui, train.uir or train.uirt is missing")
        parts = []
        for split, path in logs.items():
            rows = read_text(path, "\t", _NAMES[: _SUFFIXES[path.suffix]])
            parts.append(interactions(path, rows, 1).with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal")
        files = sorted(folder.glob("*.ids"))
        ids = {path.stem: read_text(path, "\t", ["item"])["item"] for path in files}
        items = known_ids(log["item"], *ids.values())
        features = {}
        for modality, keys in ids.items():
            path = folder / f"{modality}.npy"
            values = read_array(path)
            if len(values) != len(keys):
                raise InputError(f"{path}: {len(values)} rows but {len(keys)} ids beside it")
            features[modality] = placed(path, keys, values, items)
        users = known_ids(log["user"]).alias("user")
        return Contents(
            folder.name, log, users.to_frame(), items.alias("item").to_frame(), features
        )

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        names = contents.interactions.columns
        width = 4 if "time" in names else 3 if "value" in names else 2
        suffix = list(_SUFFIXES)[width - 2]
        for split, table in contents.parts():
            rated = table if "value" in names else table.with_columns(value=pl.lit(1.0))
            rated.select(_NAMES[:width]).write_csv(
                folder / f"{split}{suffix}",
                separator="\t",
                include_header=False,
                quote_style="never",
            )
        for modality, feature in contents.features.items():
            ids = contents.items["item"].filter(pl.Series(feature.mask())).cast(pl.String)
            write_text(folder / f"{modality}.ids", "\n".join(ids) + "\n")
            np.save(folder / f"{modality}.npy", widened(feature.rows()))


def _logs(folder: Path) -> dict[str, Path]:
    found = {}
    for split in SPLITS:
        for suffix in _SUFFIXES:
            if (folder / f"{split}{suffix}").is_file():
                found[split] = folder / f"{split}{suffix}"
    return found
