"""The layout of Cornac: tuples as text, and feature matrices with item ids.

``train``, ``valid`` and ``test`` have the suffix ``.ui``, ``.uir`` or ``.uirt``, which is the `fmt`
of ``cornac.data.Reader``. Their fields are user, item, rating and time, separated by tabs and
without a header. An unknown rating is written as 1 if there are times. Row n of ``<modality>.npy``
belongs to the item in line n of ``<modality>.ids``, for ``FeatureModality(features=..., ids=...)``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.core.inputs.features import widen_bfloat16
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.feature_files import read_array
from sgurinit.data.layouts.tables import (
    align_features,
    check_interactions,
    collect_ids,
    read_text_table,
)
from sgurinit.errors import InputError
from sgurinit.files import write_text

_NAMES = ("user", "item", "value", "time")
_SUFFIXES = {".ui": 2, ".uir": 3, ".uirt": 4}


class Cornac(TableLayout):
    """`train`, `valid`, `test` as `.ui`, `.uir` or `.uirt`; `<modality>.npy` and `.ids`."""

    name = "cornac"
    expected_files = "train.ui, train.uir or train.uirt"
    capabilities = Capabilities(
        ids="text", texts=False, isolated=False, line_breaks=False, fractions=False
    )

    @override
    def find_evidence(self, folder: Path) -> str | None:
        return ", ".join(path.name for path in _find_logs(folder).values()) or None

    @override
    def contents(self, folder: Path) -> Contents:
        logs = _find_logs(folder)
        if "train" not in logs:
            raise InputError(
                f"{folder}: train.ui, train.uir or train.uirt is missing; one is needed"
            )
        parts = []
        for split, path in logs.items():
            rows = read_text_table(path, "\t", _NAMES[: _SUFFIXES[path.suffix]])
            parts.append(check_interactions(path, rows, 1).with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal_relaxed")
        files = sorted(folder.glob("*.ids"))
        ids = {path.stem: read_text_table(path, "\t", ["item"])["item"] for path in files}
        items = collect_ids(log["item"], *ids.values())
        features = {}
        for modality, keys in ids.items():
            path = folder / f"{modality}.npy"
            values = read_array(path)
            if len(values) != len(keys):
                raise InputError(
                    f"{path}: {len(values)} rows but {modality}.ids has {len(keys)} ids"
                )
            features[modality] = align_features(path, keys, values, items)
        users = collect_ids(log["user"]).alias("user")
        return Contents(
            folder.name, log, users.to_frame(), items.alias("item").to_frame(), features
        )

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        names = contents.interactions.columns
        width = 4 if "time" in names else 3 if "value" in names else 2
        suffix = list(_SUFFIXES)[width - 2]
        for split, table in contents.by_split():
            rated = table if "value" in names else table.with_columns(value=pl.lit(1.0))
            if contents.has_fractions():  # cornac.data.Reader expects integers
                rated = rated.with_columns(pl.col("time").cast(pl.Int64))
            rated.select(_NAMES[:width]).write_csv(
                folder / f"{split}{suffix}",
                separator="\t",
                include_header=False,
                quote_style="never",
            )
        for modality, feature in contents.features.items():
            ids = contents.items["item"].filter(pl.Series(feature.mask())).cast(pl.String)
            write_text(folder / f"{modality}.ids", "\n".join(ids) + "\n")
            np.save(folder / f"{modality}.npy", widen_bfloat16(feature.rows()))


def _find_logs(folder: Path) -> dict[str, Path]:
    found = {}
    for split in SPLITS:
        for suffix in _SUFFIXES:
            if (folder / f"{split}{suffix}").is_file():
                found[split] = folder / f"{split}{suffix}"
    return found
