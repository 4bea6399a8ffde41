"""What a layout can hold, and what of a data set it therefore loses, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from sgurinit.core.inputs.features import BFLOAT16
from sgurinit.data.layouts.contents import Contents
from sgurinit.errors import InputError

_BREAK = r"[\t\r\n]"


@dataclass(frozen=True)
class Holds:
    """Abilities of a layout."""

    ids: Literal["any", "text", "positions"] = "any"
    """Ids of any type, as text, or only positions."""
    values: bool = True
    """Ratings or counts of interactions."""
    times: bool = True
    """Times of interactions."""
    texts: bool = True
    """What is known about users and items."""
    lonely: bool = True
    """Users without interactions, and items without interactions and features."""
    features: Literal["any", "float32", "none"] = "any"
    """Features of any type, as float32, or none."""
    missing: bool = True
    """Which items have no features."""
    breaks: bool = True
    """Tabs and line ends within text; an id that has one is refused where they cannot be held."""

    def losses(self, contents: Contents) -> dict[str, str]:
        """Return a line for everything that gets lost, by what it concerns."""
        return dict(self._losses(contents))

    def _losses(self, contents: Contents) -> Iterator[tuple[str, str]]:
        if line := self._ids(contents):
            yield "ids", line
        for column, held in (("value", self.values), ("time", self.times)):
            if column in contents.interactions.columns and not held:
                yield column, f"{column}s of interactions are left out"
        if not self.texts:
            names = [*contents.users.columns[1:], *contents.items.columns[1:]]
            if names:
                yield "texts", f"columns of users and items are left out: {', '.join(names)}"
        elif not self.breaks:
            tables = (contents.users, contents.items)
            broken = [
                name for table in tables for name in table.columns[1:] if _has_break(table[name])
            ]
            if broken:
                yield "breaks", f"tabs and line ends in {', '.join(broken)} become spaces"
        yield from self._lonely(contents)
        yield from self._features(contents)

    def check(self, contents: Contents) -> None:
        """Refuse what cannot be written at all.

        Raises
        ------
        InputError
            If an id has a tab or a line end, and fields or lines end there.
        """
        for what, known in (("user", contents.users), ("item", contents.items)):
            ids = known[what]
            if not self.breaks and ids.dtype == pl.String and _has_break(ids):
                wrong = ids.filter(ids.str.contains(_BREAK))[0]
                raise InputError(
                    f"{what} id {wrong!r} has a tab or a line end, which ends a field of this "
                    "layout; convert to parquet, csv or tsv instead"
                )

    def _ids(self, contents: Contents) -> str:
        if self.ids == "any":
            return ""
        whole = [w for w in ("user", "item") if contents.interactions[w].dtype.is_integer()]
        if self.ids == "text":
            return f"{' and '.join(whole)} ids are integers here and text there" if whole else ""
        for what, known in (("user", contents.users), ("item", contents.items)):
            ids = known[what]
            if not ids.dtype.is_integer() or (ids != pl.Series(np.arange(len(ids)))).any():
                return "ids become positions, 0 and up"
        return ""

    def _lonely(self, contents: Contents) -> Iterator[tuple[str, str]]:
        if self.lonely:
            return
        if users := contents.lonely("user"):
            yield "users", f"{users} users without interactions are left out"
        kept = np.zeros(len(contents.items), dtype=bool)
        if self.features != "none":
            for feature in contents.features.values():
                kept |= feature.mask()
        kept[contents.places("item").to_numpy()] = True
        if items := int(np.count_nonzero(~kept)):
            yield "items", f"{items} items without interactions and features are left out"

    def _features(self, contents: Contents) -> Iterator[tuple[str, str]]:
        if contents.features and self.features == "none":
            yield "features", f"features are left out: {', '.join(contents.features)}"
            return
        for name, feature in contents.features.items():
            kind = feature.values.dtype
            if kind == BFLOAT16 or (self.features == "float32" and kind != np.float32):
                yield f"type of {name}", f"{name} is {kind} here and float32 there"
            if not self.missing and (absent := feature.n_items - feature.n_present):
                yield f"rows of {name}", f"{absent} items without {name} get rows of zeros"


def _has_break(column: pl.Series) -> bool:
    return bool(column.str.contains(_BREAK).any())
