"""Plain tables with named columns: CSV, TSV or Parquet.

``log.<suffix>`` has the columns user and item and, optionally, split, value and time. The split is
train, valid or test; without this column, all interactions are for training. ``users.<suffix>`` and
``items.<suffix>`` are optional and describe all users and items, with their ids in column user or
item. A table ``features/<modality>.<suffix>`` has the column item and one column per number. In
Parquet, it may have one column of lists of numbers instead. An item without features has no row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.core.inputs.features import ItemFeatures, widen_bfloat16
from sgurinit.core.stream.id_columns import parse_ids
from sgurinit.data.item_vectors import is_vector_type, stack_vectors
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.tables import (
    align_features,
    check_interactions,
    check_unique_ids,
    collect_ids,
    parse_numbers,
    parse_splits,
    read_parquet,
    read_parquet_table,
    read_text_table,
    refuse_row_numbers,
    require_columns,
)
from sgurinit.errors import InputError

_KINDS = ("csv", "tsv", "parquet", "npy", "npz", "pt")


class Plain(TableLayout):
    """`log`, `users`, `items` and `features/<modality>`, all tables of one kind."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.name = suffix  # type: ignore[misc]
        self.expected_files = f"log.{suffix} with the columns user, item"  # type: ignore[misc]
        self.capabilities = (  # type: ignore[misc]
            Capabilities() if suffix == "parquet" else Capabilities(ids="text", features="float32")
        )

    @override
    def find_evidence(self, folder: Path) -> str | None:
        path = folder / f"log.{self.suffix}"
        return path.name if path.is_file() else None

    @override
    def contents(self, folder: Path) -> Contents:
        path = folder / f"log.{self.suffix}"
        self._refuse_other_kinds(folder)
        table = self._read_table(path, ["user", "item"])
        log = check_interactions(path, table, 0 if self.suffix == "parquet" else 2)
        if "split" not in log.columns:
            log = log.with_columns(split=pl.lit("train"))
        first = 0 if self.suffix == "parquet" else 2
        log = log.with_columns(parse_splits(path, log["split"], first))
        others = [c for c in table.columns if c not in log.columns]
        users = self._read_descriptions(folder, "user", log["user"])
        items = self._read_descriptions(folder, "item", log["item"])
        features = {}
        for file in sorted((folder / "features").glob(f"*.{self.suffix}")):
            rows = self._read_table(file, ["item"])
            features[file.stem] = _read_features(file, rows, items["item"])
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
            values = widen_bfloat16(feature.rows())
            columns = {str(n): values[:, n] for n in range(values.shape[1])}
            ids = contents.items["item"].filter(pl.Series(feature.mask()))
            tables[f"features/{modality}"] = pl.DataFrame({"item": ids, **columns})
        for name, table in tables.items():
            path = folder / f"{name}.{self.suffix}"
            if self.suffix == "parquet":
                table.write_parquet(path)
            else:
                table.write_csv(path, separator=self._separator)

    def _refuse_other_kinds(self, folder: Path) -> None:
        """Refuse files that look like parts of the data but would not be read."""
        found = [*folder.glob("users.*"), *folder.glob("items.*"), *folder.glob("features/*")]
        for file in sorted(found):
            if file.suffix[1:] in _KINDS and file.suffix[1:] != self.suffix:
                raise InputError(
                    f"{file}: expected a .{self.suffix} file, like log.{self.suffix}; convert it, "
                    "or move it out of the folder"
                )

    @property
    def _separator(self) -> str:
        return "\t" if self.suffix == "tsv" else ","

    def _read_table(self, path: Path, columns: list[str]) -> pl.DataFrame:
        if self.suffix == "parquet":
            read_parquet(path, columns)  # for its checks
            table = read_parquet_table(path)
            return table.with_columns(
                parse_ids(table[column], path, lambda row: f"{path}: row {row}")
                for column in columns
            )
        table = read_text_table(path, self._separator, quoted=True)
        require_columns(path, table, columns)
        return table

    def _read_descriptions(self, folder: Path, what: str, used: pl.Series) -> pl.DataFrame:
        path = folder / f"{what}s.{self.suffix}"
        ids = collect_ids(used)
        if not path.is_file():
            return ids.alias(what).to_frame()
        table = self._read_table(path, [what])
        check_unique_ids(path, table[what], 0 if self.suffix == "parquet" else 2)
        if table[what].dtype != ids.dtype:
            raise InputError(
                f"{path}: {what} is {table[what].dtype} but {ids.dtype} in the log; use one type"
            )
        strange = ids.filter(~ids.is_in(table[what].implode()))
        if len(strange):
            raise InputError(f"{path}: {what} id {strange[0]} of the log is missing; add its row")
        return table.select(what, pl.exclude(what))


def _read_features(path: Path, rows: pl.DataFrame, items: pl.Series) -> ItemFeatures:
    values = rows.drop("item")
    refuse_row_numbers(path, values)
    if not values.width:
        raise InputError(
            f"{path}: the file has no column of numbers; one or more are expected beside item"
        )
    if values.width == 1 and is_vector_type(values.dtypes[0]):
        vectors = values.to_series()
        there = vectors.is_not_null()
        ids, found = stack_vectors(path, rows["item"].filter(there), vectors.filter(there))
        return align_features(path, ids, found, items)
    numbers = pl.DataFrame([parse_numbers(path, column) for column in values])
    return align_features(path, rows["item"], np.ascontiguousarray(numbers.to_numpy()), items)
