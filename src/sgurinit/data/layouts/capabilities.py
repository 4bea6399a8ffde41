"""What a layout can hold, and what a conversion to it therefore loses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from sgurinit.core.inputs.features import BFLOAT16
from sgurinit.data.layouts.contents import Contents
from sgurinit.errors import InputError

_LINE_BREAK = r"[\t\r\n]"


@dataclass(frozen=True)
class Capabilities:
    """What a layout can hold."""

    ids: Literal["any", "text", "positions"] = "any"
    """Ids of any type, only text, or only positions."""
    values: bool = True
    """Ratings or counts of interactions."""
    times: bool = True
    """Times of interactions."""
    fractions: bool = True
    """Fractions of a second in times."""
    texts: bool = True
    """Columns that describe users and items."""
    isolated: bool = True
    """Users without interactions, and items without interactions and features."""
    features: Literal["any", "float32", "none"] = "any"
    """Features of any type, only float32, or none."""
    missing_rows: bool = True
    """Which items have no features."""
    line_breaks: bool = True
    """Tabs and line breaks in text. Without it, ids with one are refused."""

    def losses(self, contents: Contents) -> dict[str, str]:
        """Return one line for each kind of loss."""
        return dict(self._losses(contents))

    def _losses(self, contents: Contents) -> Iterator[tuple[str, str]]:
        if line := self._ids(contents):
            yield "ids", line
        for column, held in (("value", self.values), ("time", self.times)):
            if column in contents.interactions.columns and not held:
                yield column, f"{column}s of interactions are left out"
        if self.times and not self.fractions and contents.has_fractions():
            yield "fractions", "fractions of a second are left out of the times"
        if not self.texts:
            names = [*contents.users.columns[1:], *contents.items.columns[1:]]
            if names:
                yield "texts", f"columns of users and items are left out: {', '.join(names)}"
        elif not self.line_breaks:
            tables = (contents.users, contents.items)
            broken = [
                name
                for table in tables
                for name in table.columns[1:]
                if _has_line_break(table[name])
            ]
            if broken:
                yield "line_breaks", f"tabs and line breaks in {', '.join(broken)} become spaces"
        yield from self._isolated(contents)
        yield from self._features(contents)

    def check(self, contents: Contents) -> None:
        """Refuse contents that cannot be written at all.

        Raises
        ------
        InputError
            If an id has a tab or a line break, and the layout separates fields or lines with them.
        """
        for what, known in (("user", contents.users), ("item", contents.items)):
            ids = known[what]
            if not self.line_breaks and ids.dtype == pl.String and _has_line_break(ids):
                wrong = ids.filter(ids.str.contains(_LINE_BREAK))[0]
                raise InputError(
                    f"{what} id {wrong!r} has a tab or a line break, which ends a field in this "
                    "layout; convert to parquet, csv or tsv instead"
                )

    def _ids(self, contents: Contents) -> str:
        if self.ids == "any":
            return ""
        whole = [w for w in ("user", "item") if contents.interactions[w].dtype.is_integer()]
        if self.ids == "text":
            return f"integer {' and '.join(whole)} ids become text" if whole else ""
        for what, known in (("user", contents.users), ("item", contents.items)):
            ids = known[what]
            if not ids.dtype.is_integer() or (ids != pl.Series(np.arange(len(ids)))).any():
                return "ids are replaced by positions, 0 and up"
        return ""

    def _isolated(self, contents: Contents) -> Iterator[tuple[str, str]]:
        if self.isolated:
            return
        if users := contents.count_isolated("user"):
            yield "users", f"{users} users without interactions are left out"
        kept = np.zeros(len(contents.items), dtype=bool)
        if self.features != "none":
            for feature in contents.features.values():
                kept |= feature.mask()
        kept[contents.positions("item").to_numpy()] = True
        if items := int(np.count_nonzero(~kept)):
            yield "items", f"{items} items without interactions and features are left out"

    def _features(self, contents: Contents) -> Iterator[tuple[str, str]]:
        if contents.features and self.features == "none":
            yield "features", f"features are left out: {', '.join(contents.features)}"
            return
        for name, feature in contents.features.items():
            dtype = feature.values.dtype
            if dtype == BFLOAT16 or (self.features == "float32" and dtype != np.float32):
                yield f"type of {name}", f"{name} is converted from {dtype} to float32"
            if not self.missing_rows and (absent := feature.n_items - feature.n_present):
                yield f"rows of {name}", f"{absent} items without {name} get rows of zeros"


def _has_line_break(column: pl.Series) -> bool:
    return bool(column.str.contains(_LINE_BREAK).any())
