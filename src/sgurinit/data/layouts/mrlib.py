"""The layout of MRLib: one table of interactions and feature files.

``inter.csv`` has the columns ``user_id``, ``item_id`` (positions), ``label`` (0 train, 1 valid, 2
test) and, if known, ``rating``. Row n of ``<modality>_feat.npy`` or ``<modality>_feat.pt`` belongs
to item n. MRLib also reads the ``.inter`` file of MMRec's layout; such a folder is recognized as
``mmrec``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.feature_files import (
    find_feature_files,
    read_array,
    read_features,
    write_feature_files,
)
from sgurinit.data.layouts.tables import (
    check_interactions,
    parse_positions,
    read_text_table,
    require_columns,
)

_FILE = "inter.csv"
_COLUMNS = ("user_id", "item_id", "label")
_HEADER_BYTES = 4096
_USERS_PER_INTERACTION = 1000  # a stray large position would cost a huge table


class MRLib(TableLayout):
    """`inter.csv` with user_id, item_id, label, and `<modality>_feat.npy`."""

    name = "mrlib"
    expected_files = "inter.csv with the columns user_id, item_id, label"
    capabilities = Capabilities(
        ids="positions", times=False, texts=False, isolated=False, missing_rows=False
    )

    @override
    def find_evidence(self, folder: Path) -> str | None:
        if not (folder / _FILE).is_file():
            return None
        with (folder / _FILE).open("rb") as file:
            header = file.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
        return _FILE if set(_COLUMNS) <= set(header.strip().split(",")) else None

    @override
    def contents(self, folder: Path) -> Contents:
        path = folder / _FILE
        raw = read_text_table(path, ",", quoted=True)
        require_columns(path, raw, _COLUMNS)
        there = [*folder.glob("*_feat.npy"), *folder.glob("*_feat.pt")]
        files = find_feature_files(folder) if there else {}
        n_items = len(read_array(next(iter(files.values())))) if files else np.iinfo(np.int32).max
        most = _USERS_PER_INTERACTION * max(len(raw), 1)
        users = parse_positions(path, raw, "user_id", most, "ids without large gaps")
        items = parse_positions(path, raw, "item_id", n_items, "rows of the features")
        labels = parse_positions(path, raw, "label", len(SPLITS), "0 train, 1 valid, 2 test")
        others = [c for c in raw.columns if c not in (*_COLUMNS, "rating")]
        roles = {"user_id": "user", "item_id": "item", "rating": "value"}
        named = raw.drop(others).rename(roles, strict=False)
        log = check_interactions(path, named, 2).with_columns(
            user=users, item=items, split=pl.Series(np.array(SPLITS)[labels])
        )
        if not files:
            n_items = int(items.max(initial=-1)) + 1
        n_users = int(users.max(initial=-1)) + 1
        return Contents(
            folder.name,
            log,
            pl.DataFrame({"user": np.arange(n_users)}),
            pl.DataFrame({"item": np.arange(n_items)}),
            read_features(files, n_items),
            (f"{_FILE}: columns {', '.join(others)}",) if others else (),
        )

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        log = contents.with_position_ids().interactions
        label = pl.col("split").replace_strict({s: n for n, s in enumerate(SPLITS)})
        columns = [pl.col("user").alias("user_id"), pl.col("item").alias("item_id")]
        columns += [pl.col("value").alias("rating")] if "value" in log.columns else []
        log.select(*columns, label.alias("label")).write_csv(folder / _FILE)
        write_feature_files(folder, contents.features)
