"""The layout of MMRec: one tab-separated table of interactions and feature files.

``<name>.inter`` has the columns ``userID``, ``itemID`` (integers from 0) and ``x_label`` (0 train,
1 valid, 2 test). Conversions also keep ``rating`` and ``timestamp``. Row n of
``<modality>_feat.npy`` or ``<modality>_feat.pt`` belongs to item n. The optional files
``u_id_mapping.csv`` and ``i_id_mapping.csv`` give the external id of each ``userID`` and ``itemID``
in their other column. They are tab-separated despite their suffix. Without them, positions are used
as ids.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from typing_extensions import override

from sgurinit.data.dataset import SPLITS, Dataset, Interactions
from sgurinit.data.layouts.base import WritableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents, ids_to_series
from sgurinit.data.layouts.feature_files import (
    find_feature_files,
    read_array,
    read_features,
    write_feature_files,
)
from sgurinit.data.layouts.tables import (
    check_interactions,
    parse_positions,
    read_tsv,
    require_columns,
)
from sgurinit.errors import InputError

_COLUMNS = ("userID", "itemID", "x_label")
_HEADER_BYTES = 4096


class MMRec(WritableLayout):
    """`<name>.inter` with userID, itemID, x_label, and `<modality>_feat.npy`."""

    name = "mmrec"
    expected_files = "<name>.inter with the columns userID, itemID, x_label"
    capabilities = Capabilities(ids="text", texts=False, missing_rows=False, line_breaks=False)

    def find_evidence(self, folder: Path) -> str | None:
        """Name the `.inter` files with a column of this layout."""
        return ", ".join(path.name for path in _find_tables(folder)) or None

    def read(self, folder: Path) -> Dataset:
        """Read the data set. For errors, see `Layout.read`."""
        path, *others = _find_tables(folder)
        if others:
            names = ", ".join(table.name for table in (path, *others))
            raise InputError(f"{folder}: {names}: one .inter file is expected; keep one of them")
        files = find_feature_files(folder)
        first = next(iter(files.values()))
        n_items = len(read_array(first))
        table = require_columns(path, read_tsv(path), _COLUMNS)
        user_ids = _read_external_ids(folder / "u_id_mapping.csv", "userID")
        if user_ids is None:
            # Ids without gaps are below the number of rows. A stray id would cost a huge table.
            users = parse_positions(path, table, "userID", len(table), "ids without gaps")
            user_ids = np.arange(users.max(initial=-1) + 1)
        else:
            users = parse_positions(
                path, table, "userID", len(user_ids), "rows of u_id_mapping.csv"
            )
        items = parse_positions(path, table, "itemID", n_items, f"rows of {first.name}")
        labels = parse_positions(path, table, "x_label", len(SPLITS), "0 train, 1 valid, 2 test")
        item_ids = _read_external_ids(folder / "i_id_mapping.csv", "itemID")
        if item_ids is not None and len(item_ids) != n_items:
            raise InputError(
                f"{folder / 'i_id_mapping.csv'}: {len(item_ids)} items but {first.name} has "
                f"{n_items} rows; one row per item is expected"
            )
        return Dataset(
            name=path.stem,
            layout=self.name,
            **{
                split: Interactions(users[labels == label], items[labels == label])
                for label, split in enumerate(SPLITS)
            },
            features=read_features(files, n_items),
            user_ids=user_ids,
            item_ids=np.arange(n_items) if item_ids is None else item_ids,
        )

    @override
    def contents(self, folder: Path) -> Contents:
        dataset = self.read(folder)  # with all checks
        path = _find_tables(folder)[0]
        table = read_tsv(path)
        named = {"userID": "user", "itemID": "item", "rating": "value", "timestamp": "time"}
        checked = check_interactions(path, table.rename(named, strict=False), 2)
        places = checked.select(pl.col("user", "item").str.strip_chars().cast(pl.Int64))
        split = table["x_label"].str.strip_chars().cast(pl.Int64)
        log = checked.with_columns(
            user=ids_to_series(dataset.user_ids).gather(places["user"]),
            item=ids_to_series(dataset.item_ids).gather(places["item"]),
            split=split.replace_strict(dict(enumerate(SPLITS))),
        )
        others = [c for c in table.columns if c not in (*named, "x_label")]
        left_out = (f"{path.name}: columns {', '.join(others)}",) if others else ()
        return replace(Contents.from_dataset(dataset), interactions=log, left_out=left_out)

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        log = contents.with_position_ids().interactions
        named = {"user": "userID", "item": "itemID", "value": "rating", "time": "timestamp"}
        there = {old: new for old, new in named.items() if old in log.columns}
        label = pl.col("split").replace_strict({s: n for n, s in enumerate(SPLITS)})
        log.with_columns(x_label=label).select(*there, "x_label").rename(there).write_csv(
            folder / f"{contents.name}.inter", separator="\t"
        )
        for known, what in ((contents.users, "user"), (contents.items, "item")):
            ids = known.select(pl.col(what).alias(f"{what}_id"))
            ids.with_row_index(f"{what}ID").write_csv(
                folder / f"{what[0]}_id_mapping.csv", separator="\t", quote_style="never"
            )
        write_feature_files(folder, contents.features)


def _find_tables(folder: Path) -> list[Path]:
    """Return the `.inter` files whose header has a column of this layout."""
    found = []
    for path in sorted(p for p in folder.glob("*.inter") if p.is_file()):
        with path.open("rb") as file:
            header = file.readline(_HEADER_BYTES).decode("utf-8", errors="replace")
        if set(header.strip().split("\t")) & set(_COLUMNS):
            found.append(path)
    return found


def _read_external_ids(path: Path, column: str) -> NDArray[Any] | None:
    """Return the external id of each position, or None without a file."""
    if not path.exists():
        return None
    table = read_tsv(path)
    external = [name for name in table.columns if name != column]
    if len(external) != 1:
        raise InputError(
            f"{path}: columns {', '.join(map(repr, table.columns))}; expected {column} and one "
            "column with the external id"
        )
    require_columns(path, table, [column])
    count = len(table)
    places = parse_positions(path, table, column, count, "one row per id")
    repeated = np.bincount(places, minlength=count) > 1
    if repeated.any():
        raise InputError(f"{path}: {column} {np.argmax(repeated)} is repeated; give one row each")
    empty = table[external[0]].is_null()
    if empty.any():
        raise InputError(f"{path}: line {empty.arg_true()[0] + 2}: {external[0]} is missing")
    ordered = table.select(external[0], place=pl.Series(places)).sort("place")
    return np.array(ordered[external[0]].to_list(), dtype=str)
