"""The layout of freerec: three tab-separated files with a header of capitals.

``train.txt``, ``valid.txt`` and ``test.txt`` have the columns USER, ITEM (positions) and, where
known, RATING and TIMESTAMP. Its loader knows no features and no ids.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.holds import Holds
from sgurinit.data.layouts.tables import interactions, positions, read_text, require
from sgurinit.errors import InputError

_FILES = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
_ROLES = {"USER": "user", "ITEM": "item", "RATING": "value", "TIMESTAMP": "time"}
_HEADER_BYTES = 4096


class FreeRec(TableLayout):
    """`train.txt`, `valid.txt`, `test.txt` with the columns USER and ITEM."""

    name = "freerec"
    sought = "train.txt with the columns USER, ITEM"
    holds = Holds(ids="positions", texts=False, lonely=False, features="none")

    @override
    def sees(self, folder: Path) -> str | None:
        there = [file for file in _FILES.values() if (folder / file).is_file()]
        for file in there:
            with (folder / file).open("rb") as opened:
                header = opened.readline(_HEADER_BYTES).decode("utf-8", errors="replace")
            if not {"USER", "ITEM"} & set(header.strip().split("\t")):
                return None
        return ", ".join(there) or None

    @override
    def contents(self, folder: Path) -> Contents:
        parts = []
        for split, file in _FILES.items():
            path = folder / file
            if not path.is_file():
                raise InputError(f"{path}: file is missing")
            table = read_text(path, "\t")
            require(path, table, ["USER", "ITEM"])
            table = table.rename(_ROLES, strict=False)
            checked = interactions(path, table, 2)
            for what in ("user", "item"):
                places = positions(path, table, what, np.iinfo(np.int32).max, "positions")
                checked = checked.with_columns(pl.Series(what, places))
            parts.append(checked.with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal")
        known = {what: log[what].unique().sort().to_frame() for what in ("user", "item")}
        left_out = tuple(
            f"{path.name}: a pickle, which is not opened"
            for path in sorted(folder.glob("*_modality.pkl"))
        )
        return Contents(folder.name, log, known["user"], known["item"], {}, left_out)

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        for split, table in contents.with_positions().parts():
            columns = [
                pl.col(old).alias(new) for new, old in _ROLES.items() if old in table.columns
            ]
            table.select(columns).write_csv(folder / _FILES[split], separator="\t")
