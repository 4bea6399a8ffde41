"""All that a folder with a data set may hold, beyond what models see of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data.dataset import SPLITS, Dataset, Interactions
from sgurinit.errors import InputError


@dataclass(frozen=True, eq=False)
class Contents:
    """What is moved from one layout to another.

    Parameters
    ----------
    name : str
        Name of the data set.
    interactions : DataFrame
        Columns user, item (ids, all of them known below), split, and where known value (float) and
        time (integer); a row per interaction, in any order.
    users, items : DataFrame
        Column user or item, unique, in order of position; other columns are text.
    features : mapping of str to ItemFeatures
        By modality, rows in the order of the items.
    left_out : tuple of str
        What the folder holds and this does not, in words.
    """

    name: str
    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    features: Mapping[str, ItemFeatures]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make text of what is known about users and items; empty text is none."""
        object.__setattr__(self, "users", _texts(self.users, "user"))
        object.__setattr__(self, "items", _texts(self.items, "item"))

    @classmethod
    def of(cls, dataset: Dataset) -> Contents:
        """Take what a data set has."""
        parts = [
            pl.DataFrame(
                {
                    "user": as_series(dataset.user_ids[pairs.users]),
                    "item": as_series(dataset.item_ids[pairs.items]),
                }
            ).with_columns(split=pl.lit(split))
            for split, pairs in dataset.splits()
        ]
        return cls(
            name=dataset.name,
            interactions=pl.concat(parts),
            users=pl.DataFrame({"user": as_series(dataset.user_ids)}),
            items=pl.DataFrame({"item": as_series(dataset.item_ids)}),
            features=dataset.features,
        )

    def dataset(self, layout: str) -> Dataset:
        """Return what models see."""
        places = {what: self.places(what).to_numpy() for what in ("user", "item")}
        splits = {}
        for split in SPLITS:
            rows = (self.interactions["split"] == split).to_numpy()
            splits[split] = Interactions(places["user"][rows], places["item"][rows])
        return Dataset(
            name=self.name,
            layout=layout,
            **splits,
            features=self.features,
            user_ids=as_array(self.users["user"]),
            item_ids=as_array(self.items["item"]),
        )

    def places(self, what: str) -> pl.Series:
        """Return the position of the user or the item of each interaction."""
        known = self.users if what == "user" else self.items
        lookup = known.select(what).with_row_index("place")
        rows = self.interactions.select(what)
        found = rows.join(lookup, on=what, how="left", maintain_order="left")["place"]
        return found.cast(pl.Int64)

    def parts(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield ``(name, interactions)`` of train, valid and test."""
        for split in SPLITS:
            yield split, self.interactions.filter(split=split).drop("split")

    def lonely(self, what: str) -> int:
        """Count users or items without any interaction."""
        known = self.users if what == "user" else self.items
        return len(known) - self.interactions[what].n_unique()

    def with_positions(self) -> Contents:
        """Return the same with positions for ids."""
        return replace(
            self,
            interactions=self.interactions.with_columns(
                user=self.places("user"), item=self.places("item")
            ),
            users=self.users.with_columns(user=np.arange(len(self.users))),
            items=self.items.with_columns(item=np.arange(len(self.items))),
        )


def as_array(ids: pl.Series) -> NDArray[Any]:
    """Ids as NumPy has them."""
    return np.array(ids.to_list(), dtype=str) if ids.dtype == pl.String else ids.to_numpy()


def as_series(ids: NDArray[Any]) -> pl.Series:
    """Ids as polars has them."""
    return pl.Series(ids.tolist(), dtype=pl.String) if ids.dtype.kind == "U" else pl.Series(ids)


def _texts(table: pl.DataFrame, key: str) -> pl.DataFrame:
    for name, dtype in table.schema.items():
        if dtype.is_nested():
            raise InputError(f"{key}s: column {name} is {dtype}; text or numbers are expected")
    return table.with_columns(
        pl.col(name).cast(pl.String).replace("", None) for name in table.columns if name != key
    )
