"""The layout of freerec: three tab-separated files with a header of capitals.

``train.txt``, ``valid.txt`` and ``test.txt`` have the columns USER, ITEM (positions) and, where
known, RATING and TIMESTAMP; ``user.txt`` and ``item.txt``, where they are, say what is known about
each; a type of RecBole in their headers, as of ``freerec make`` (``AGE:TOKEN``), is left out. Its
loader knows no features and no ids.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Holds
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.tables import (
    interactions,
    known_ids,
    positions,
    read_text,
    require,
    unique_ids,
)
from sgurinit.errors import InputError

_FILES = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
_ROLES = {"USER": "user", "ITEM": "item", "RATING": "value", "TIMESTAMP": "time"}
_HEADER_BYTES = 4096
_TYPE = r":(TOKEN|FLOAT)(_SEQ)?$"


class FreeRec(TableLayout):
    """`train.txt`, `valid.txt`, `test.txt` with the columns USER and ITEM."""

    name = "freerec"
    sought = "train.txt with the columns USER, ITEM"
    holds = Holds(ids="positions", features="none")

    @override
    def sees(self, folder: Path) -> str | None:
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
            table = read_text(path, "\t")
            require(path, table, ["USER", "ITEM"])
            strange = [name for name in table.columns if name not in _ROLES]
            others += [f"{file}: columns {', '.join(strange)}"] if strange else []
            table = table.drop(strange).rename(_ROLES, strict=False)
            checked = interactions(path, table, 2)
            for what in ("user", "item"):
                checked = checked.with_columns(_places(path, table, what))
            parts.append(checked.with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal")
        known = {what: _known(folder, what, log[what]) for what in ("user", "item")}
        others += [
            f"{path.name}: a pickle, which is not opened"
            for path in sorted(folder.glob("*_modality.pkl"))
        ]
        return Contents(folder.name, log, known["user"], known["item"], {}, tuple(others))

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        placed = contents.with_positions()
        for split, table in placed.parts():
            columns = [
                pl.col(old).alias(new) for new, old in _ROLES.items() if old in table.columns
            ]
            table.select(columns).write_csv(folder / _FILES[split], separator="\t")
        for what, known in (("user", placed.users), ("item", placed.items)):
            named = known.rename({what: what.upper()})
            named.write_csv(folder / f"{what}.txt", separator="\t")


def _places(path: Path, table: pl.DataFrame, what: str) -> pl.Series:
    return pl.Series(what, positions(path, table, what, np.iinfo(np.int32).max, "positions"))


def _known(folder: Path, what: str, used: pl.Series) -> pl.DataFrame:
    """Read what is known about users or items; without a file, their positions."""
    path, ids = folder / f"{what}.txt", known_ids(used)
    if not path.is_file():
        return ids.alias(what).to_frame()
    table = read_text(path, "\t", quoted=True)
    require(path, table, [what.upper()])
    table = table.rename({name: re.sub(_TYPE, "", name) for name in table.columns})
    table = table.rename({what.upper(): what})
    table = table.select(_places(path, table, what), pl.exclude(what))
    unique_ids(path, table[what], 2)
    strange = ids.filter(~ids.is_in(table[what].implode()))
    if len(strange):
        raise InputError(
            f"{path}: {what} {strange[0]} is missing, but the interactions have it; add its line"
        )
    return table.sort(what)
