"""Change files of data sets at random and read them: ``fuzz_readers.py KIND SECONDS FOLDER``."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import resource
import shutil
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from fuzz_objects import MORE_MEMORY, damage, odd_array, odd_json

from sgurinit.core import SGURInit
from sgurinit.data import load_dataset, planted
from sgurinit.data.convert import convert, writable_layouts
from sgurinit.data.download import _unpack
from sgurinit.data.encode import encode_attributes, find_images, join_text_columns, join_vectors
from sgurinit.data.item_vectors import read_item_features
from sgurinit.data.prepare import find_source, prepare
from sgurinit.errors import InputError

TOKENS = [
    b'"', b'""', b"\0", b",", b"\t", b"\n", b"\r", b"\r\n", b" ", b"\xef\xbb\xbf", b"\xff",
    b"nan", b"inf", b"1e999", b"-1", b"99999999999999999999", b"0.5", b"true", b"null", b"{}",
    b"[" * 100_000, b"x" * 10_000, b"\\", b"'", b"\x1b[31m", b"user", b"item",
]  # fmt: skip
ROWS = [(f"u{u}", f"i{i}", 1 + i % 5, 1_600_000_000 + 60 * u + i)
        for u in range(12) for i in range(9) if (u + i) % 4]  # fmt: skip
LOG = pl.DataFrame(ROWS, schema=["user", "item", "rating", "timestamp"], orient="row")
ITEMS = pl.DataFrame(
    {
        "item": [f"i{i}" for i in range(9)],
        "title": [f'5" disk, no. {i}' for i in range(9)],
        "tags": [["a", "b"], ["b"], ["a"]] * 3,
        "words": ["['a', 'b']", "['b']", "['a', 'b']"] * 3,
    }
)
TYPES = [
    *(pl.Categorical, pl.UInt64, pl.Int128, pl.Float64, pl.Boolean, pl.Decimal(20, 2), pl.Binary),
    *(pl.Datetime("ns"), pl.Date, pl.Duration("us"), pl.List(pl.String)),
]
VECTORS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


def change_file(path: Path, rng: random.Random) -> None:
    """Change a file by its bytes or by what they mean."""
    packed = path.suffix == ".gz" and rng.random() < 0.7
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    how = rng.random()
    if path.suffix == ".npy" and how < 0.5:
        np.save(path, odd_array(np.load(path), rng))
        return
    if path.suffix == ".npy" and how < 0.7:  # a header that claims another size or type
        pairs = [(b"(9,", b"(%d," % 10**12), (b"(3,", b"(%d," % 10**12), (b"'<f4'", b"'|O' ")]
        old, new = rng.choice(pairs)
        content = content.replace(old, new, 1)
    elif path.suffix == ".parquet" and how < 0.6:
        change_table(pl.read_parquet(path), rng).write_parquet(path)
        return
    elif path.suffix == ".json" and how < 0.7:
        content = json.dumps(odd_json(json.loads(content), rng)).encode()
    elif how < 0.8:
        at = rng.randrange(len(content) + 1)
        content = content[:at] + rng.choice(TOKENS) + content[at + rng.choice([0, 1, 5]) :]
    else:
        content = damage(content, rng)
    path.write_bytes(gzip.compress(content) if packed else content)


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


class Logs:
    """Raw logs and tables of items, as `prepare` reads them."""

    def write(self, folder: Path) -> None:
        LOG.write_csv(folder / "log.csv")
        quoted = LOG.with_columns(note=pl.lit('a "b", c'))
        quoted.write_csv(folder / "quoted.tsv", separator="\t", quote_style="always")
        LOG.with_columns(note=pl.lit('5" disk')).write_csv(
            folder / "literal.csv", quote_style="never"
        )
        (folder / "log.csv.gz").write_bytes(gzip.compress(LOG.write_csv().encode()))
        LOG.write_ndjson(folder / "log.jsonl")
        (folder / "log.jsonl.gz").write_bytes(gzip.compress(LOG.write_ndjson().encode()))
        LOG.write_parquet(folder / "log.parquet")
        dates = pl.from_epoch("timestamp").cast(pl.Datetime("ms"))
        LOG.with_columns(dates).write_parquet(folder / "dates.parquet")
        ITEMS.select("item", "title").write_csv(folder / "items.csv")
        ITEMS.write_parquet(folder / "items.parquet")
        products = [{"asin": f"i{i}", "title": "t", "images": [{"large": "x"}]} for i in range(9)]
        lines = [json.dumps(p) if n % 2 else str(p) for n, p in enumerate(products)]
        (folder / "meta.json.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        (folder / "x.item").write_text(
            "item_id:token\ttitle:token_seq\n" + "".join(f"i{i}\ta b\n" for i in range(9))
        )
        vectors = pl.DataFrame({"item": ITEMS["item"], "text": VECTORS})
        vectors.write_parquet(folder / "vectors.parquet")
        (folder / "ml").mkdir()
        LOG.write_csv(folder / "ml" / "u.data", separator="\t", include_header=False)
        flags = "|".join(["0"] * 19)
        (folder / "ml" / "u.item").write_text(
            "".join(f"i{i}|t (2001)|d||x|{flags}\n" for i in range(9))
        )

    def read(self, folder: Path, rng: random.Random) -> None:
        logs = ["log.csv", "quoted.tsv", "literal.csv", "log.csv.gz", "log.jsonl", "log.jsonl.gz",
                "log.parquet", "dates.parquet", "ml"]  # fmt: skip
        tables = [None, "items.csv", "items.parquet", "meta.json.gz", "x.item"]
        name = next((part for part in logs if part in self.changed), rng.choice(logs))
        table = next((part for part in tables[1:] if part in self.changed), rng.choice(tables))
        source = find_source(folder / name, items=folder / table if table else None)
        vectors = {"text": folder / "vectors.parquet"} if "vectors" in self.changed else None
        split = rng.choice(["random", "user-time", "time", "leave-one-out"])
        unit = rng.choice([None, None, "order", "iso"])
        prepare(source, folder / "out", core=1, split=split, time_unit=unit, features=vectors)
        load_dataset(folder / "out")

    changed = ""


class Layouts:
    """The folders of all layouts."""

    def write(self, folder: Path) -> None:
        source = folder / "native"
        prepare_folder(source)
        for name in writable_layouts():
            if name != "native":
                convert(source, folder / name, name)
        data = planted(60, 40)
        (folder / "hkuds").mkdir()
        for file, pairs in zip(("trnMat", "valMat", "tstMat"), data.splits(), strict=True):
            matrix = sp.coo_matrix(pairs[1].matrix(data.n_users, data.n_items))
            (folder / "hkuds" / f"{file}.pkl").write_bytes(pickle.dumps(matrix))
        for modality, feature in data.features.items():
            np.save(folder / "hkuds" / f"{modality}_feat.npy", feature.values)

    def read(self, folder: Path, rng: random.Random) -> None:
        name = Path(self.changed).parts[0]
        to = rng.choice(["native", "parquet", "csv", "recbole"])
        convert(folder / name, folder / "out", to)
        load_dataset(folder / "out")

    changed = "native"


class Vectors:
    """Existing vectors, and the items of a data set to encode."""

    def write(self, folder: Path) -> None:
        prepare_folder(folder / "data")
        np.save(folder / "v.npy", VECTORS)
        (folder / "v.txt").write_text("".join(f"i{i}\n" for i in range(9)))
        table = pl.DataFrame({"item": ITEMS["item"], "v": VECTORS})
        table.write_parquet(folder / "v.parquet")
        numbers = pl.DataFrame(VECTORS, schema=["a", "b", "c"])
        ITEMS.select("item").hstack(numbers).write_csv(folder / "v.csv")
        ITEMS.select("item").hstack(numbers).write_csv(folder / "v.tsv", separator="\t")

    def read(self, folder: Path, rng: random.Random) -> None:
        data = folder / "data"
        files = ["v.npy", "v.txt", "v.parquet", "v.csv", "v.tsv"]
        if self.changed not in files:
            join_text_columns(data, ["title", "tags"])
            find_images(data, folder)
            encode_attributes(data, "tags", [rng.choice(["tags", "words", "title"])], width=2)
        else:
            npy = self.changed in ("v.npy", "v.txt")
            name, ids = ("v.npy", folder / "v.txt") if npy else (self.changed, None)
            join_vectors(data, "more", folder / name, ids=ids)
        load_dataset(data)

    changed = ""


class Streams:
    """Interactions and vectors on disk."""

    def write(self, folder: Path) -> None:
        LOG.select("user", "item").write_parquet(folder / "log.parquet")
        table = pl.DataFrame({"item": ITEMS["item"], "text": VECTORS})
        table.write_parquet(folder / "items.parquet")
        np.save(folder / "items.npy", VECTORS)
        edges = [(int(u[1:]), int(i[1:])) for u, i, *_ in ROWS]
        np.save(folder / "edges.npy", np.array(edges))

    def read(self, folder: Path, rng: random.Random) -> None:
        npy = self.changed.endswith(".npy")
        files = {"text": folder / ("items.npy" if npy else "items.parquet")}
        log = folder / ("edges.npy" if npy else "log.parquet")
        features, ids = read_item_features(files, None if npy or rng.random() < 0.5 else log)
        estimator = SGURInit(n_clusters=2, random_state=0)
        estimator.stream(log, features, folder / "out", item_ids=ids)

    changed = ""


class Archives:
    """Downloaded archives."""

    def write(self, folder: Path) -> None:
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/ratings.csv", LOG.write_csv())
            archive.writestr("a/README", "text")

    def read(self, folder: Path, rng: random.Random) -> None:
        del rng
        _unpack(folder / "a.zip")

    changed = ""


def prepare_folder(out: Path) -> None:
    """Write a small data set in the native layout, with texts, lists and vectors."""
    parent = out.parent / "raw"
    parent.mkdir()
    LOG.write_parquet(parent / "log.parquet")
    ITEMS.write_parquet(parent / "items.parquet")
    vectors = pl.DataFrame({"item": ITEMS["item"], "text": VECTORS})
    vectors.write_parquet(parent / "vectors.parquet")
    source = find_source(parent / "log.parquet", items=parent / "items.parquet")
    prepare(source, out, core=1, features={"text": parent / "vectors.parquet"})
    shutil.rmtree(parent)


KINDS: dict[str, Callable[[], Logs | Layouts | Vectors | Streams | Archives]] = {
    "logs": Logs,
    "layouts": Layouts,
    "vectors": Vectors,
    "streams": Streams,
    "archives": Archives,
}


def fuzz(kind: str, seconds: float, folder: Path) -> dict[str, object]:
    """Change and read for some time; return how often, and what went wrong."""
    files, whole = KINDS[kind](), folder / "whole"
    whole.mkdir(parents=True)
    files.write(whole)
    paths = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + MORE_MEMORY
    wrong: dict[str, str] = {}
    tried = refused = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rng = random.Random(f"{kind} {tried}")  # noqa: S311 - not for secrets
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(whole, work)
        changed = rng.choice(paths)
        files.changed = str(changed)
        change_file(work / changed, rng)
        tried += 1
        try:
            files.read(work, rng)
        except InputError as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) > 20_000:
                wrong[f"{tried - 1} {changed}: message"] = repr(str(error)[:500])
        except BaseException as error:  # what nobody expects
            wrong[f"{tried - 1} {changed}: {type(error).__name__}"] = str(error)[:500]
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > limit:
            wrong[f"{tried - 1} {changed}: memory"] = "more than allowed"
            break
    return {"tried": tried, "refused": refused, "wrong": wrong}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    facts = fuzz(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write(json.dumps(facts) + "\n")
