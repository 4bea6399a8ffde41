"""The layout of Elliot's fixed splits: tab-separated files without a header.

``train.tsv``, ``validation.tsv`` and ``test.tsv`` have the fields user, item, rating and, if known,
time. An unknown rating is written as 1. The folder ``<modality>/`` has a file ``<item>.npy`` for
each item with features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.core.inputs.features import widen_bfloat16
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.feature_files import load_npy
from sgurinit.data.layouts.tables import (
    align_features,
    check_interactions,
    collect_ids,
    read_text_table,
)
from sgurinit.errors import InputError

_FILES = {"train": "train.tsv", "valid": "validation.tsv", "test": "test.tsv"}
_NAMES = ("user", "item", "value", "time")
_LINE_BYTES = 4096


class Elliot(TableLayout):
    """`train.tsv`, `validation.tsv`, `test.tsv` without a header, and a folder per modality."""

    name = "elliot"
    expected_files = "train.tsv and test.tsv without a header"
    capabilities = Capabilities(ids="text", texts=False, isolated=False, line_breaks=False)

    @override
    def find_evidence(self, folder: Path) -> str | None:
        there = [file for file in _FILES.values() if (folder / file).is_file()]
        if "train.tsv" not in there or not _is_rating(_read_fields(folder / "train.tsv")):
            return None
        return ", ".join(there)

    @override
    def contents(self, folder: Path) -> Contents:
        parts = []
        for split, file in _FILES.items():
            path = folder / file
            if split != "train" and not path.is_file():
                continue
            width = min(max(len(_read_fields(path)), 3), 4) if path.stat().st_size else 4
            table = check_interactions(path, read_text_table(path, "\t", _NAMES[:width]), 1)
            parts.append(table.with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal_relaxed")
        folders = [p for p in sorted(folder.iterdir()) if p.is_dir() and any(p.glob("*.npy"))]
        files = {p.name: sorted(p.glob("*.npy")) for p in folders}
        ids = {m: pl.Series([path.stem for path in paths]) for m, paths in files.items()}
        items = collect_ids(log["item"], *ids.values())
        features = {
            m: align_features(folder / m, ids[m], _stack_files(paths), items)
            for m, paths in files.items()
        }
        users = collect_ids(log["user"]).alias("user")
        return Contents(
            folder.name, log, users.to_frame(), items.alias("item").to_frame(), features
        )

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        for split, table in contents.by_split():
            known = "value" in table.columns
            rated = table if known else table.with_columns(value=pl.lit(1.0))
            columns = [name for name in _NAMES if name in rated.columns]
            rated.select(columns).write_csv(
                folder / _FILES[split], separator="\t", include_header=False, quote_style="never"
            )
        for modality, feature in contents.features.items():
            (folder / modality).mkdir()
            ids = contents.items["item"].filter(pl.Series(feature.mask())).cast(pl.String)
            for item, row in zip(ids, widen_bfloat16(feature.rows()), strict=True):
                if "/" in item or item.startswith("."):
                    raise InputError(f"item id {item!r} cannot be a file name, which elliot needs")
                np.save(folder / modality / f"{item}.npy", row)


def _read_fields(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(_LINE_BYTES).decode("utf-8", errors="replace")
    return line.rstrip("\r\n").split("\t")


def _is_rating(fields: list[str]) -> bool:
    """Tell whether the third field of a line is a number, so that the line is not a header."""
    try:
        return len(fields) in (3, 4) and bool(float(fields[2]) + 1)
    except ValueError:
        return False


def _stack_files(paths: list[Path]) -> np.ndarray:
    rows = []
    for path in paths:
        rows.append(np.array(load_npy(path)).ravel())
        if rows[-1].shape != rows[0].shape or rows[-1].dtype != rows[0].dtype:
            raise InputError(
                f"{path}: {rows[-1].size} numbers, but {rows[0].size} in {paths[0].name}"
            )
    return np.stack(rows)
