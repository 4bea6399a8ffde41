"""The atomic files of RecBole: tab-separated tables with a typed header.

``<name>.inter`` has the columns ``user_id:token`` and ``item_id:token`` and, if known,
``rating:float`` and ``timestamp:float``. RecBole's benchmark files ``<name>.train.inter``,
``<name>.valid.inter`` and ``<name>.test.inter`` are the splits. Without them, all interactions are
for training. ``<name>.user`` and ``<name>.item`` describe users and items. Any other file with one
column of tokens and one ``float_seq``, such as ``<name>.itememb``, holds item vectors: a modality,
named after the column. User vectors (``<name>.useremb``) are not part of a data set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import override

from sgurinit.core.start import UserStart
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.base import TableLayout
from sgurinit.data.layouts.capabilities import Capabilities
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.tables import (
    align_features,
    check_interactions,
    check_unique_ids,
    collect_ids,
    read_text_table,
    require_columns,
)
from sgurinit.errors import InputError
from sgurinit.files import write_text

_ROLES = {"user_id": "user", "item_id": "item", "rating": "value", "timestamp": "time"}
_HEADER_BYTES = 4096


class RecBole(TableLayout):
    """`<name>.inter` with a typed header, `.user`, `.item` and files of vectors."""

    name = "recbole"
    expected_files = "<name>.inter with the columns user_id:token, item_id:token"
    capabilities = Capabilities(ids="text", features="float32", line_breaks=False)

    @override
    def find_evidence(self, folder: Path) -> str | None:
        files = _find_logs(folder)
        if not files:
            return None
        whole = "" if len(files) > 1 else ", no splits, all interactions are for training"
        return ", ".join(path.name for path in files.values()) + whole

    @override
    def contents(self, folder: Path) -> Contents:
        files = _find_logs(folder)
        parts, left_out = [], []
        for split, path in files.items():
            table = _read_untyped(path)
            others = [name for name in table.columns if name not in _ROLES]
            left_out += [f"{path.name}: columns {', '.join(others)}"] if others else []
            table = table.drop(others).rename(_ROLES, strict=False)
            parts.append(check_interactions(path, table, 2).with_columns(split=pl.lit(split)))
        log = pl.concat(parts, how="diagonal_relaxed")
        split, path = next(iter(files.items()))
        name = path.name.removesuffix(".inter").removesuffix(f".{split}")
        users = _read_descriptions(folder / f"{name}.user", "user", log["user"])
        items = _read_descriptions(folder / f"{name}.item", "item", log["item"])
        features = {}
        own = (path for path in folder.iterdir() if path.name.startswith(f"{name}."))
        for path in sorted(own):
            if path.suffix in (".inter", ".user", ".item") or not path.is_file():
                continue
            found = _read_item_vectors(path)
            if found is None:
                left_out.append(f"{path.name}: not a file of item vectors")
                continue
            modality, ids, values = found
            features[modality] = align_features(path, ids, values, items["item"])
        return Contents(name, log, users, items, features, tuple(left_out))

    @override
    def write(self, contents: Contents, folder: Path) -> None:
        for split, table in contents.by_split():
            columns = {
                "user_id:token": "user", "item_id:token": "item", "rating:float": "value",
                "timestamp:float": "time",
            }  # fmt: skip
            there = {new: old for new, old in columns.items() if old in table.columns}
            table.select(pl.col(old).alias(new) for new, old in there.items()).write_csv(
                folder / f"{contents.name}.{split}.inter", separator="\t", quote_style="never"
            )
        for what, known in (("user", contents.users), ("item", contents.items)):
            if typed_already := [name for name in known.columns if ":" in name]:
                raise InputError(
                    f"{what}s: column {typed_already[0]!r} has a colon, after which RecBole "
                    "expects a type; rename it"
                )
            typed = {n: f"{n}:token_seq" for n in known.columns} | {what: f"{what}_id:token"}
            known.rename(typed).with_columns(
                pl.col(pl.String).str.replace_all(r"[\t\r\n]", " ")
            ).write_csv(folder / f"{contents.name}.{what}", separator="\t", quote_style="never")
        for modality, feature in contents.features.items():
            ids = contents.items["item"].filter(pl.Series(feature.mask()))
            values = feature.rows().astype(np.float32)
            path = folder / f"{contents.name}.{modality}emb"
            write_vectors(path, f"{modality}_id", ids, modality, values)

    @override
    def advice(self, contents: Contents) -> str:
        lines = [
            f"dataset: {contents.name}  # in a folder of this name",
            "benchmark_filename: [train, valid, test]",
        ]
        if contents.features:
            names = list(contents.features)
            ids = ", ".join(f"{n}_id" for n in names)
            loads = ", ".join(f"{n}emb: [{n}_id, {n}]" for n in names)
            lines += [
                f"additional_feat_suffix: [{', '.join(f'{n}emb' for n in names)}]",
                f"load_col: {{inter: [user_id, item_id], {loads}}}",
                f"alias_of_item_id: [{ids}]",
                f"preload_weight: {{{', '.join(f'{n}_id: {n}' for n in names)}}}",
            ]
        return "\n".join(lines)


def write_vectors(path: Path, id_name: str, ids: pl.Series, name: str, values: np.ndarray) -> None:
    """Write vectors in the format that RecBole loads, in full precision.

    Parameters
    ----------
    path : Path
        File to write.
    id_name, name : str
        Names of the columns of ids and of vectors.
    ids : Series
        One id per row.
    values : ndarray of float32, shape (n, d)
        The vectors.
    """
    rows = (" ".join(map(str, row)) for row in values)
    lines = [f"{key}\t{row}" for key, row in zip(ids.to_list(), rows, strict=True)]
    write_text(path, "\n".join([f"{id_name}:token\t{name}:float_seq", *lines]) + "\n")


def write_user_vectors(start: UserStart, path: Path, table: str) -> str:
    """Write a start as RecBole's `.useremb` file.

    Parameters
    ----------
    start : UserStart
        The start.
    path : Path
        File to write, ``<data set>.useremb``.
    table : str
        A modality of the start, or ``"joint"`` where it has a `joint_dim`.

    Returns
    -------
    str
        Lines of a RecBole config that load the file.

    Raises
    ------
    InputError
        If the start has no such table, or `path` has another suffix.
    """
    tables = dict(start.users)
    if (width := start.config["joint_dim"]) is not None:
        tables["joint"] = start.joint(width).users
    if table not in tables:
        raise InputError(f"table is {table!r}, the start has {', '.join(tables)}")
    if path.suffix != ".useremb":
        raise InputError(f"{path}: expected the name <data set>.useremb, which RecBole looks for")
    ids = np.arange(start.n_users) if start.user_ids is None else start.user_ids
    write_vectors(path, "uid", pl.Series(ids.tolist()), "user_emb", tables[table])
    return (
        "additional_feat_suffix: [useremb]\n"
        "load_col: {inter: [user_id, item_id], useremb: [uid, user_emb]}\n"
        "alias_of_user_id: [uid]\n"
        "preload_weight: {uid: user_emb}"
    )


def _find_logs(folder: Path) -> dict[str, Path]:
    """Return the `.inter` files with a typed header, by split."""
    found, others = {}, []
    for path in sorted(folder.glob("*.inter")):
        header = b""
        if path.is_file():
            with path.open("rb") as file:
                header = file.readline(_HEADER_BYTES)
        if b"user_id:token" in header or b"item_id:token" in header:
            found[path.name] = path
        else:
            others.append(path)
    if found and others:
        raise InputError(
            f"{others[0]}: not a table with a header such as user_id:token item_id:token, which "
            f"{next(iter(found))} has; correct it, or move it out of the folder"
        )
    of = {s: [p for p in found.values() if p.name.endswith(f".{s}.inter")] for s in SPLITS}
    if any(len(paths) > 1 for paths in of.values()):
        raise InputError(
            f"{folder}: {', '.join(found)}: splits of several data sets; give each a folder"
        )
    splits = {split: paths[0] for split, paths in of.items() if paths}
    if not splits:
        if len(found) > 1:
            raise InputError(
                f"{folder}: {', '.join(found)}: one .inter file is expected; keep one of them"
            )
        return dict(zip(["train"], found.values(), strict=False))
    if len({path.name.removesuffix(f".{s}.inter") for s, path in splits.items()}) > 1:
        raise InputError(
            f"{folder}: {', '.join(found)}: splits of several data sets; give each a folder"
        )
    return splits


def _read_untyped(path: Path) -> pl.DataFrame:
    table = read_text_table(path, "\t")
    names = {name: name.partition(":")[0] for name in table.columns}
    if len(set(names.values())) < len(names):
        raise InputError(f"{path}: a column is repeated: {', '.join(names)}; keep one of them")
    return table.rename(names)


def _read_descriptions(path: Path, what: str, used: pl.Series) -> pl.DataFrame:
    """Read the table that describes users or items. Without a file, return their ids."""
    ids = collect_ids(used)
    if not path.is_file():
        return ids.alias(what).to_frame()
    table = _read_untyped(path)
    require_columns(path, table, [f"{what}_id"])
    table = table.rename({f"{what}_id": what})
    check_unique_ids(path, table[what], 2)
    strange = ids.filter(~ids.is_in(table[what].implode()))
    if len(strange):
        raise InputError(
            f"{path}: {what} id {strange[0]} of the interactions is missing; add its line"
        )
    return table


def _read_item_vectors(path: Path) -> tuple[str, pl.Series, np.ndarray] | None:
    """Read a file of item vectors. Return None for any other file."""
    with path.open("rb") as file:
        header = file.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    types = dict(reversed(column.partition(":")[::2]) for column in header.split("\t"))
    if set(types) != {"token", "float_seq"} or types["token"] in ("uid", "user_id"):
        return None
    table = _read_untyped(path)
    ids, texts = table[types["token"]], table[types["float_seq"]]
    lists = texts.str.split(" ").list.eval(pl.element().cast(pl.Float32, strict=False))
    width = lists.list.len().max() or 0
    wrong = (lists.list.len() != width) | lists.list.eval(pl.element().is_null()).list.any()
    wrong |= lists.is_null() | ids.is_null()
    if wrong.any():
        raise InputError(
            f"{path}: line {wrong.arg_true()[0] + 2}: an id and {width} numbers are expected"
        )
    return types["float_seq"], ids, lists.cast(pl.Array(pl.Float32, width)).to_numpy()
