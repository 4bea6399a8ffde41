"""Everything that the folder of a data set may hold, including what models do not use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data.dataset import SPLITS, Dataset, Interactions
from sgurinit.data.layouts.tables import holds_values, to_text
from sgurinit.errors import InputError


@dataclass(frozen=True, eq=False)
class Contents:
    """What a conversion carries from one layout to another.

    Parameters
    ----------
    name : str
        Name of the data set.
    interactions : DataFrame
        One row per interaction, in any order: the columns user and item (ids in `users` and
        `items`), split and, if known, value (float) and time (seconds, integer or float).
    users, items : DataFrame
        The column user or item with unique ids, in order of position, and columns of text.
    features : mapping of str to ItemFeatures
        Features by modality, with rows in the order of the items.
    left_out : tuple of str
        Descriptions of what the folder holds and this object does not.
    """

    name: str
    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    features: Mapping[str, ItemFeatures]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Turn the columns that describe users and items into text. Empty text becomes null."""
        object.__setattr__(self, "users", _as_text(self.users, "user"))
        object.__setattr__(self, "items", _as_text(self.items, "item"))

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Contents:
        """Return the contents of a data set."""
        parts = [
            pl.DataFrame(
                {
                    "user": ids_to_series(dataset.user_ids[pairs.users]),
                    "item": ids_to_series(dataset.item_ids[pairs.items]),
                }
            ).with_columns(split=pl.lit(split))
            for split, pairs in dataset.splits()
        ]
        return cls(
            name=dataset.name,
            interactions=pl.concat(parts),
            users=pl.DataFrame({"user": ids_to_series(dataset.user_ids)}),
            items=pl.DataFrame({"item": ids_to_series(dataset.item_ids)}),
            features=dataset.features,
        )

    def to_dataset(self, layout: str) -> Dataset:
        """Return the data set that models use."""
        positions = {what: self.positions(what).to_numpy() for what in ("user", "item")}
        splits = {}
        for split in SPLITS:
            rows = (self.interactions["split"] == split).to_numpy()
            splits[split] = Interactions(positions["user"][rows], positions["item"][rows])
        return Dataset(
            name=self.name,
            layout=layout,
            **splits,
            features=self.features,
            user_ids=ids_to_array(self.users["user"]),
            item_ids=ids_to_array(self.items["item"]),
        )

    def positions(self, what: str) -> pl.Series:
        """Return the position of the user, or of the item, of each interaction."""
        known = self.users if what == "user" else self.items
        lookup = known.select(what).with_row_index("position")
        rows = self.interactions.select(what)
        found = rows.join(lookup, on=what, how="left", maintain_order="left")["position"]
        return found.cast(pl.Int64)

    def by_split(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield ``(name, interactions)`` of train, valid and test."""
        for split in SPLITS:
            yield split, self.interactions.filter(split=split).drop("split")

    def has_fractions(self) -> bool:
        """Tell whether a time has a fraction of a second."""
        return "time" in self.interactions and self.interactions["time"].dtype.is_float()

    def count_isolated(self, what: str) -> int:
        """Count users or items without any interaction."""
        known = self.users if what == "user" else self.items
        return len(known) - self.interactions[what].n_unique()

    def with_position_ids(self) -> Contents:
        """Return the same with positions instead of ids."""
        return replace(
            self,
            interactions=self.interactions.with_columns(
                user=self.positions("user"), item=self.positions("item")
            ),
            users=self.users.with_columns(user=np.arange(len(self.users))),
            items=self.items.with_columns(item=np.arange(len(self.items))),
        )


def ids_to_array(ids: pl.Series) -> NDArray[Any]:
    """Convert ids from polars to NumPy: integers, or text as Python strings."""
    return ids.to_numpy()


def ids_to_series(ids: NDArray[Any]) -> pl.Series:
    """Convert ids from NumPy to polars."""
    return pl.Series(ids.tolist(), dtype=pl.String) if ids.dtype.kind == "U" else pl.Series(ids)


def _as_text(table: pl.DataFrame, key: str) -> pl.DataFrame:
    for name, dtype in table.schema.items():
        if dtype.is_nested() and not holds_values(dtype):
            raise InputError(
                f"{key}s: column {name} is {dtype}; text, numbers, or lists of text are expected"
            )
    return table.with_columns(
        to_text(table[name]).replace("", None) for name in table.columns if name != key
    )
