"""Plain tables with named columns: CSV, TSV or Parquet.

``log.<suffix>`` has the columns user, item, split (train, valid, test; without it all is
training) and, where known, value and time. ``users.<suffix>`` and ``items.<suffix>``, where there
are any, name all users and items in column user or item and what is known about them. A table
``features/<modality>.<suffix>`` has the column item and one column per number, in Parquet also one
column of lists of numbers; an item without features has no row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.core.inputs.features import ItemFeatures, widened
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Holds
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.tables import (
    interactions,
    known_ids,
    placed,
    read_parquet,
    read_text,
    require,
    unique_ids,
)
from sgurinit.data.layouts.vectors import as_rows
from sgurinit.errors import InputError


class Plain(TableLayout):
    """`log`, `users`, `items` and `features/<modality>`, all tables of one kind."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.name = suffix  # type: ignore[misc]
        self.sought = f"log.{suffix} with the columns user, item"  # type: ignore[misc]
        self.holds = (  # type: ignore[misc]
            Holds() if suffix == "parquet" else Holds(ids="text", features="float32")
        )

    @override
    def sees(self, folder: Path) -> str | None:
        path = folder / f"log.{self.suffix}"
        return path.name if path.is_file() else None

    @override
    def contents(self, folder: Path) -> Contents:
        path = folder / f"log.{self.suffix}"
        table = self._table(path, ["user", "item"])
        log = interactions(path, table, 0 if self.suffix == "parquet" else 2)
        if "split" not in log.columns:
            log = log.with_columns(split=pl.lit("train"))
        strange = log.filter(~pl.col("split").is_in(SPLITS) | pl.col("split").is_null())
        if len(strange):
            raise InputError(
                f"{path}: split is {strange['split'][0]!r}; allowed are {', '.join(SPLITS)}"
            )
        others = [c for c in table.columns if c not in log.columns]
        users = self._known(folder, "user", log["user"])
        items = self._known(folder, "item", log["item"])
        features = {}
        for file in sorted((folder / "features").glob(f"*.{self.suffix}")):
            rows = self._table(file, ["item"])
            features[file.stem] = _features(file, rows, items["item"])
        left_out = (f"{path.name}: columns {', '.join(others)}",) if others else ()
        return Contents(folder.name, log, users, items, features, left_out)

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        tables = {
            "log": contents.interactions,
            "users": contents.users,
            "items": contents.items,
        }
        (folder / "features").mkdir()
        for modality, feature in contents.features.items():
            values = widened(feature.rows())
            columns = {str(n): values[:, n] for n in range(values.shape[1])}
            ids = contents.items["item"].filter(pl.Series(feature.mask()))
            tables[f"features/{modality}"] = pl.DataFrame({"item": ids, **columns})
        for name, table in tables.items():
            path = folder / f"{name}.{self.suffix}"
            if self.suffix == "parquet":
                table.write_parquet(path)
            else:
                table.write_csv(path, separator=self._separator)

    @property
    def _separator(self) -> str:
        return "\t" if self.suffix == "tsv" else ","

    def _table(self, path: Path, columns: list[str]) -> pl.DataFrame:
        if self.suffix == "parquet":
            read_parquet(path, columns)  # its checks
            return pl.read_parquet(path, glob=False)
        table = read_text(path, self._separator, quoted=True)
        require(path, table, columns)
        return table

    def _known(self, folder: Path, what: str, used: pl.Series) -> pl.DataFrame:
        path = folder / f"{what}s.{self.suffix}"
        ids = known_ids(used)
        if not path.is_file():
            return ids.alias(what).to_frame()
        table = self._table(path, [what])
        unique_ids(path, table[what], 0 if self.suffix == "parquet" else 2)
        if table[what].dtype != ids.dtype:
            raise InputError(
                f"{path}: {what} is {table[what].dtype} but {ids.dtype} in the interactions"
            )
        strange = ids.filter(~ids.is_in(table[what].implode()))
        if len(strange):
            raise InputError(f"{path}: {what} id {strange[0]} of the interactions is missing")
        return table.select(what, pl.exclude(what))


def _features(path: Path, rows: pl.DataFrame, items: pl.Series) -> ItemFeatures:
    values = rows.drop("item")
    if not values.width:
        raise InputError(f"{path}: columns with numbers are expected beside item")
    if values.width == 1 and isinstance(values.dtypes[0], pl.List | pl.Array):
        vectors = values.to_series()
        there = vectors.is_not_null()
        ids, found = as_rows(path, rows["item"].filter(there), vectors.filter(there))
        return placed(path, ids, found, items)
    if pl.String in values.dtypes:
        numbers = values.cast(pl.Float32, strict=False)
        for column in numbers.columns:
            wrong = numbers[column].is_null()
            if wrong.any():
                at = int(wrong.arg_true()[0])
                raise InputError(
                    f"{path}: line {at + 2}: {column} is {values[column][at]!r}; a number is "
                    "expected"
                )
        values = numbers
    return placed(path, rows["item"], np.ascontiguousarray(values.to_numpy()), items)
