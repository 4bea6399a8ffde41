"""Kinds of files for the fuzzer, and ways to change a file at random."""

from __future__ import annotations

import gzip
import json
import random
import struct
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import safe_open
from safetensors.numpy import save_file

from sgurinit.core.inputs.fingerprint import hash_arrays

ODD = [
    *(None, True, -1, 0, 1, 7, 2**31, 2**63, 10**12, 0.5, "x", "", [], {}, [[]]),
    "\x1b[31m<script>",
]
TOKENS = [
    b'"', b'""', b"\0", b",", b"\t", b"\n", b"\r", b"\r\n", b" ", b"\xef\xbb\xbf", b"\xff",
    b"nan", b"inf", b"1e999", b"-1", b"99999999999999999999", b"0.5", b"true", b"null", b"{}",
    b"[" * 100_000, b"x" * 10_000, b"x" * 2_000_000, b"\\", b"'", b"\x1b[31m", b"user", b"item",
    "\u00e9".encode("latin-1"), "\u00e9\u0301\u202e".encode(), "u1,i1\n".encode("utf-16"),
]  # fmt: skip
TYPES = [
    *(pl.Categorical, pl.UInt64, pl.Int128, pl.Float64, pl.Boolean, pl.Decimal(20, 2), pl.Binary),
    *(pl.Datetime("ns"), pl.Date, pl.Duration("us"), pl.List(pl.String), pl.Enum(["u1", "i1"])),
]
ENCODINGS = ("utf-8-sig", "utf-16", "latin-1", "cp037")


class Kind(ABC):
    """Files that something reads: whole ones are written once, and changed for every case."""

    pattern = "*"
    """Files to change."""

    readable = True
    """Whether files that nobody changed are read without an error."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write whole files."""

    def change(self, folder: Path, path: Path, rng: random.Random) -> bool:
        """Change a file; return whether that was made to look as if nobody did."""
        return change_file(folder / path, rng)

    @abstractmethod
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        """Read and use the files, among them the one that was changed."""


def change_file(path: Path, rng: random.Random) -> bool:
    """Change a file by its bytes or by what they mean; return whether its checksum fits again."""
    packed = path.suffix == ".gz" and rng.random() < 0.7
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    how = rng.random()
    if path.suffix == ".safetensors" and how < 0.6:
        return change_tensors(path, rng)
    if path.suffix == ".npy" and how < 0.5:
        np.save(path, odd_array(np.load(path), rng))
        return False
    if path.suffix == ".npy" and how < 0.7:  # a header that claims another size or type
        pairs = [(b"(9,", b"(%d," % 10**12), (b"(3,", b"(%d," % 10**12), (b"'<f4'", b"'|O' ")]
        old, new = rng.choice(pairs)
        content = content.replace(old, new, 1)
    elif path.suffix == ".parquet" and how < 0.6:
        change_table(pl.read_parquet(path), rng).write_parquet(path)
        return False
    elif path.suffix == ".json" and how < 0.7:
        content = json.dumps(odd_json(json.loads(content), rng)).encode()
    elif how < 0.75:
        at = rng.randrange(len(content) + 1)
        content = content[:at] + rng.choice(TOKENS) + content[at + rng.choice([0, 1, 5]) :]
    elif how < 0.8:
        text = content.decode("utf-8", errors="replace")
        content = text.encode(rng.choice(ENCODINGS), errors="replace")
    else:
        content = damage(content, rng)
    if packed and rng.random() < 0.05:
        content += rng.choice([b"\n", b" ", b"u1,i1,1,1600000000\n"]) * 30_000_000
    path.write_bytes(gzip.compress(content, 1, mtime=0) if packed else content)
    return False


def damage(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(max(1, len(data)))
        how = rng.randrange(5)
        if how == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[at:]
        elif how == 2:
            data[at:at] = rng.randbytes(rng.choice([1, 8, 100]))
        elif how == 3:
            data[at : at + 8] = struct.pack("<q", rng.choice([0, -1, 2**31, 2**62]))
        else:
            data[at : at + rng.choice([1, 100])] = b""
    return bytes(data)


def odd_json(value: object, rng: random.Random) -> object:
    """Replace one part of a JSON value by another."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: odd_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], odd_json(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)


def odd_array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Change values, the shape or the type of an array."""
    how = rng.randrange(6)
    if how == 0 and array.size:
        changed = array.copy()
        with np.errstate(all="ignore"):
            value = np.array(rng.choice([0, -1, 99, 2**31 - 1])).astype(array.dtype)
        changed.flat[rng.randrange(array.size)] = value
        return changed
    if how == 1:
        return array[: rng.randrange(len(array) + 1)] if array.ndim else array
    if how == 2 and array.dtype.kind in "iuf":
        return array.astype(rng.choice([np.float64, np.float16, np.int64, np.uint8]))
    if how == 3 and array.dtype.kind == "f":
        return array * np.float32(rng.choice([np.nan, np.inf, 1e38]))
    return array[None] if how == 4 else array.ravel()


def change_tensors(path: Path, rng: random.Random) -> bool:
    """Change a safetensors file; return whether its checksum was made to fit."""
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata() or {})
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata and rng.random() < 0.5:
        key = rng.choice(sorted(metadata))
        try:
            metadata[key] = json.dumps(odd_json(json.loads(metadata[key]), rng))
        except ValueError:
            metadata[key] = rng.choice(["", "[" * 50_000, "null"])
    else:
        key = rng.choice(sorted(arrays))
        arrays[key] = odd_array(arrays[key], rng)
    forged = rng.random() < 0.7 and "checksum" in metadata
    if forged:
        del metadata["checksum"]
        metadata["checksum"] = hash_arrays(arrays, metadata)
    save_file({name: np.ascontiguousarray(part) for name, part in arrays.items()}, path, metadata)
    return forged


def change_table(table: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    """Change a column of a table: its type, its name or a value."""
    name = rng.choice(table.columns)
    column, how = table[name], rng.randrange(7)
    other = rng.choice(["index", "", "x", "__index_level_0__"])
    value = rng.choice([None, "", "a\0", "x" * 2000, " u1", 2**62, -1, float("nan"), 1e300])
    changes = [
        lambda: table.drop(name),
        lambda: table.rename({name: other}),
        lambda: table.head(rng.randrange(3)),
        lambda: pl.concat([table, table.sample(1, seed=rng.randrange(99))]),
        lambda: table.with_columns(column.cast(rng.choice(TYPES), strict=False)),
        lambda: table.with_columns(pl.when(pl.int_range(pl.len()) == 1).then(value)
                                   .otherwise(column).alias(name)),
    ]  # fmt: skip
    try:
        return changes[how % len(changes)]()
    except pl.exceptions.PolarsError:  # such as text as a date
        return table


def pick(changed: str, names: list[str | None], rng: random.Random) -> str | None:
    """Return the name that was changed, or any of them."""
    return changed if changed in names else rng.choice(names)
