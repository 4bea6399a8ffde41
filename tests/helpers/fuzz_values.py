"""Tables for the fuzzer, read a second time by a few slow lines: what is accepted must be equal."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from fuzz_changes import Kind
from fuzz_readers import LOG, prepare_folder
from typing_extensions import override

from sgurinit.data import load_dataset
from sgurinit.data.convert import convert, writable_layouts
from sgurinit.data.prepare import find_source
from sgurinit.data.prepare.log import read_log

Row = Mapping[str, Any]
SPLITS = ("train", "valid", "test")


class UnclearError(Exception):
    """The slow reader cannot tell what the file means."""


def read_lines(content: bytes) -> list[str]:
    """Split text at line feeds, as files of tables have them."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnclearError from None
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def read_csv(path: Path, separator: str, names: list[str] | None, *, quoted: bool) -> list[Row]:
    """Read a text table with the csv module."""
    content = path.read_bytes()
    lines = read_lines(gzip.decompress(content) if path.suffix == ".gz" else content)
    try:
        rows = (
            list(csv.reader(io.StringIO("\n".join(lines), newline="\n"), delimiter=separator,
                            strict=True))
            if quoted
            else [line.removesuffix("\r").split(separator) for line in lines]
        )  # fmt: skip
    except csv.Error:
        raise UnclearError from None
    header = names or rows.pop(0)
    if len(set(header)) < len(header):
        raise UnclearError
    return [
        {name: row[at] if at < len(row) else "" for at, name in enumerate(header)} for row in rows
    ]


def read_jsonl(path: Path, *_: object) -> list[Row]:
    """Read JSON lines with the json module."""
    content = path.read_bytes()
    lines = read_lines(gzip.decompress(content) if path.suffix == ".gz" else content)
    try:
        rows = [json.loads(line, object_pairs_hook=refuse_repeated) for line in lines if line]
    except (ValueError, RecursionError):
        raise UnclearError from None
    if not all(isinstance(row, dict) for row in rows):
        raise UnclearError
    return rows


def refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise UnclearError
    return dict(pairs)


def read_parquet(path: Path, *_: object) -> list[Row]:
    """Read a Parquet file with pyarrow."""
    try:
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    except (OSError, ValueError, NotImplementedError):
        raise UnclearError from None


def as_id(value: Any) -> str:
    """Return an id as text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnclearError
    return str(value)


class LogValues(Kind):
    """Raw logs of every format, with values and times."""

    @override
    def write(self, folder: Path) -> None:
        LOG.write_csv(folder / "log.csv")
        noted = LOG.with_columns(note=pl.lit('a "b", c'))
        noted.write_csv(folder / "quoted.tsv", separator="\t", quote_style="always")
        noted.write_csv(folder / "quoted.csv", quote_style="always")
        LOG.write_csv(folder / "plain.tsv", separator="\t")
        LOG.with_columns(note=pl.lit('5" disk')).write_csv(folder / "disk.csv", quote_style="never")
        (folder / "log.csv.gz").write_bytes(gzip.compress(LOG.write_csv().encode(), mtime=0))
        LOG.write_ndjson(folder / "log.jsonl")
        (folder / "log.jsonl.gz").write_bytes(gzip.compress(LOG.write_ndjson().encode(), mtime=0))
        LOG.write_parquet(folder / "log.parquet")
        LOG.with_columns(pl.col("user", "item").cast(pl.Categorical)).write_parquet(
            folder / "categories.parquet"
        )
        LOG.with_columns(pl.col("user").str.slice(1).cast(pl.UInt64)).write_parquet(
            folder / "numbers.parquet"
        )

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        path = folder / changed
        source = find_source(path)
        log = read_log(source)
        try:
            rows = self.slow(path)
            names = source.columns
            expected = [tuple(as_id(row[names[r]]) for r in ("user", "item")) for row in rows]
            numbers = {
                role: [float(row[names[role]]) for row in rows]
                for role in ("value", "time")
                if role in names
            }
        except UnclearError:
            return
        users, items = (ids.cast(pl.String).to_list() for ids in (log.user_ids, log.item_ids))
        found = [(users[u], items[i]) for u, i in zip(log.users, log.items, strict=True)]
        assert found == expected, first_difference(found, expected)
        for role, own in (("value", log.value), ("time", log.time)):
            if own is not None:
                np.testing.assert_array_equal(np.asarray(own, dtype=float), numbers[role])

    def slow(self, path: Path) -> list[Row]:
        name = path.name.removesuffix(".gz")
        if name.endswith(".parquet"):
            return read_parquet(path)
        if name.endswith(".jsonl"):
            return read_jsonl(path)
        separator = "\t" if name.endswith(".tsv") else ","
        begins = path.read_bytes().removeprefix(b"\xef\xbb\xbf")[:1] == b'"'
        return read_csv(path, separator, None, quoted=separator == "," or begins)


class LayoutValues(Kind):
    """The interactions of every layout."""

    @override
    def write(self, folder: Path) -> None:
        prepare_folder(folder / "native")
        for name in writable_layouts():
            if name != "native":
                convert(folder / "native", folder / name, name)

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        name = Path(changed).parts[0]
        data = load_dataset(folder / name)
        try:
            expected = {split: set(SLOW[name](folder / name, split)) for split in SPLITS}
        except UnclearError:
            return
        for split, pairs in data.splits():
            users, items = data.user_ids[pairs.users], data.item_ids[pairs.items]
            found = {(str(u), str(i)) for u, i in zip(users, items, strict=True)}
            assert found == expected[split], found ^ expected[split]


Pairs = Iterator[tuple[str, str]]


def slow_native(folder: Path, split: str) -> Pairs:
    for row in read_parquet(folder / "interactions.parquet"):
        if row["split"] == split:
            yield as_id(row["user"]), as_id(row["item"])


def slow_plain(folder: Path, split: str) -> Pairs:
    suffix = folder.name
    path = folder / f"log.{suffix}"
    separator = "\t" if suffix == "tsv" else ","
    rows = (
        read_parquet(path)
        if suffix == "parquet"
        else read_csv(path, separator, None, quoted=has_quotes(path, separator))
    )
    for row in rows:
        if row.get("split", "train") == split:
            yield as_id(row["user"]), as_id(row["item"])


def has_quotes(path: Path, separator: str) -> bool:
    """Whether a field is in quotes; if none is, they are characters like any other."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    return content[:1] == b'"' or any(
        opening in content for opening in (b'\n"', separator.encode() + b'"')
    )


def slow_mmrec(folder: Path, split: str) -> Pairs:
    ids = [
        {
            int(row[f"{what}ID"]): next(v for k, v in row.items() if k != f"{what}ID")
            for row in read_csv(folder / f"{what[0]}_id_mapping.csv", "\t", None, quoted=False)
        }
        for what in ("user", "item")
    ]
    (path,) = folder.glob("*.inter")
    for row in read_csv(path, "\t", None, quoted=False):
        if int(row["x_label"]) == SPLITS.index(split):
            yield ids[0][int(row["userID"])], ids[1][int(row["itemID"])]


def slow_mrlib(folder: Path, split: str) -> Pairs:
    path = folder / "inter.csv"
    for row in read_csv(path, ",", None, quoted=has_quotes(path, ",")):
        if int(row["label"]) == SPLITS.index(split):
            yield str(int(row["user_id"])), str(int(row["item_id"]))


def slow_recbole(folder: Path, split: str) -> Pairs:
    for path in folder.glob(f"*.{split}.inter"):
        for row in read_csv(path, "\t", None, quoted=False):
            bare = {name.partition(":")[0]: value for name, value in row.items()}
            yield bare["user_id"], bare["item_id"]


def slow_elliot(folder: Path, split: str) -> Pairs:
    path = folder / f"{'validation' if split == 'valid' else split}.tsv"
    for row in read_csv(path, "\t", ["user", "item"], quoted=False) if path.exists() else ():
        yield row["user"], row["item"]


def slow_cornac(folder: Path, split: str) -> Pairs:
    for path in folder.glob(f"{split}.ui*"):
        for row in read_csv(path, "\t", ["user", "item"], quoted=False):
            yield row["user"], row["item"]


def slow_freerec(folder: Path, split: str) -> Pairs:
    for row in read_csv(folder / f"{split}.txt", "\t", None, quoted=False):
        yield str(int(row["USER"])), str(int(row["ITEM"]))


SLOW: dict[str, Callable[[Path, str], Pairs]] = {
    "native": slow_native,
    **dict.fromkeys(("csv", "tsv", "parquet"), slow_plain),
    "mmrec": slow_mmrec,
    "mrlib": slow_mrlib,
    "recbole": slow_recbole,
    "elliot": slow_elliot,
    "cornac": slow_cornac,
    "freerec": slow_freerec,
}


def first_difference(found: list[Any], expected: list[Any]) -> str:
    if len(found) != len(expected):
        return f"{len(found)} rows, not {len(expected)}"
    at = next(n for n, pair in enumerate(found) if pair != expected[n])
    return f"row {at}: {found[at]!r:.100}, not {expected[at]!r:.100}"


KINDS: dict[str, type[Kind]] = {"log-values": LogValues, "layout-values": LayoutValues}
