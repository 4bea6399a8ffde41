"""The layout of freerec: tab-separated files with an uppercase header.

``train.txt``, ``valid.txt`` and ``test.txt`` have the columns USER and ITEM (positions) and, if
known, RATING and TIMESTAMP. The optional files ``user.txt`` and ``item.txt`` describe users and
items. Types of RecBole in their headers (``AGE:TOKEN``), which ``freerec make`` writes, are
dropped. freerec's loader reads neither features nor ids.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.tables import (
    check_interactions,
    check_unique_ids,
    collect_ids,
    parse_positions,
    read_text_table,
    require_columns,
)
from sgurinit.errors import InputError

_FILES = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
_ROLES = {"USER": "user", "ITEM": "item", "RATING": "value", "TIMESTAMP": "time"}
_HEADER_BYTES = 4096
_TYPE = r":(TOKEN|FLOAT)(_SEQ)?$"


class FreeRec(TableLayout):
    """`train.txt`, `valid.txt`, `test.txt` with the columns USER and ITEM."""

    name = "freerec"
    expected_files = "train.txt with the columns USER, ITEM"
    capabilities = Capabilities(ids="positions", features="none")

    @override
    def find_evidence(self, folder: Path) -> str | None:
        there = [file for file in _FILES.values() if (folder / file).is_file()]
        for file in there:
            with (folder / file).open("rb") as opened:
                header = opened.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
            if not {"USER", "ITEM"} & set(header.strip().split("\t")):
                return None
        return ", ".join(there) or None

    @override
    def contents(self, folder: Path) -> Contents:
        parts, others = [], []
        for split, file in _FILES.items():
            path = folder / file
            if not path.is_file():
                raise InputError(f"{path}: file is missing")
            table = read_text_table(path, "\t")
            require_columns(path, table, ["USER", "ITEM"])
            strange = [name for name in table.columns if name not in _ROLES]
            others += [f"{file}: columns {', '.join(strange)}"] if strange else []
            table = table.drop(strange).rename(_ROLES, strict=False)
            checked = check_interactions(path, table, 2)
            for what in ("user", "item"):
                checked = checked.with_columns(_position_column(path, table, what))
            parts.append(checked.with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal_relaxed")
        known = {what: _read_descriptions(folder, what, log[what]) for what in ("user", "item")}
        others += [
            f"{path.name}: pickles are not opened" for path in sorted(folder.glob("*_modality.pkl"))
        ]
        return Contents(folder.name, log, known["user"], known["item"], {}, tuple(others))

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        renamed = contents.with_position_ids()
        for split, table in renamed.by_split():
            columns = [
                pl.col(old).alias(new) for new, old in _ROLES.items() if old in table.columns
            ]
            table.select(columns).write_csv(folder / _FILES[split], separator="\t")
        for what, known in (("user", renamed.users), ("item", renamed.items)):
            named = known.rename({what: what.upper()})
            named.write_csv(folder / f"{what}.txt", separator="\t")


def _position_column(path: Path, table: pl.DataFrame, what: str) -> pl.Series:
    limit = np.iinfo(np.int32).max
    return pl.Series(what, parse_positions(path, table, what, limit, "32-bit positions"))


def _read_descriptions(folder: Path, what: str, used: pl.Series) -> pl.DataFrame:
    """Read the table that describes users or items. Without a file, return their positions."""
    path, ids = folder / f"{what}.txt", collect_ids(used)
    if not path.is_file():
        return ids.alias(what).to_frame()
    table = read_text_table(path, "\t", quoted=True)
    require_columns(path, table, [what.upper()])
    table = table.rename({name: re.sub(_TYPE, "", name) for name in table.columns})
    table = table.rename({what.upper(): what})
    table = table.select(_position_column(path, table, what), pl.exclude(what))
    check_unique_ids(path, table[what], 2)
    strange = ids.filter(~ids.is_in(table[what].implode()))
    if len(strange):
        raise InputError(
            f"{path}: {what} {strange[0]} of the interactions is missing; add its line"
        )
    return table.sort(what)
