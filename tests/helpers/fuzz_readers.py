"""Files of data sets for the fuzzer: logs, layouts, vectors, interactions on disk, archives."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from fuzz_changes import Kind, pick
from typing_extensions import override

from sgurinit.core import SGURInit
from sgurinit.data import load_dataset, planted
from sgurinit.data.convert import convert, writable_layouts
from sgurinit.data.download import _unpack
from sgurinit.data.encode import encode_attributes, find_images, join_text_columns, join_vectors
from sgurinit.data.item_vectors import read_item_features
from sgurinit.data.prepare import find_source, prepare

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
VECTORS = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)


class Logs(Kind):
    """Raw logs and tables of items, as `prepare` reads them."""

    @override
    def write(self, folder: Path) -> None:
        LOG.write_csv(folder / "log.csv")
        quoted = LOG.with_columns(note=pl.lit('a "b", c'))
        quoted.write_csv(folder / "quoted.tsv", separator="\t", quote_style="always")
        LOG.with_columns(note=pl.lit('5" disk')).write_csv(
            folder / "literal.csv", quote_style="never"
        )
        (folder / "log.csv.gz").write_bytes(gzip.compress(LOG.write_csv().encode(), mtime=0))
        LOG.write_ndjson(folder / "log.jsonl")
        (folder / "log.jsonl.gz").write_bytes(gzip.compress(LOG.write_ndjson().encode(), mtime=0))
        LOG.write_parquet(folder / "log.parquet")
        dates = pl.from_epoch("timestamp").cast(pl.Datetime("ms"))
        LOG.with_columns(dates).write_parquet(folder / "dates.parquet")
        ITEMS.select("item", "title").write_csv(folder / "items.csv")
        ITEMS.write_parquet(folder / "items.parquet")
        products = [{"asin": f"i{i}", "title": "t", "images": [{"large": "x"}]} for i in range(9)]
        lines = [json.dumps(p) if n % 2 else str(p) for n, p in enumerate(products)]
        (folder / "meta.json.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
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

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        logs = ["log.csv", "quoted.tsv", "literal.csv", "log.csv.gz", "log.jsonl", "log.jsonl.gz",
                "log.parquet", "dates.parquet", "ml"]  # fmt: skip
        tables = [None, "items.csv", "items.parquet", "meta.json.gz", "x.item"]
        name = rng.choice(logs) if "items" in changed or "meta" in changed else changed
        name = "ml" if name.startswith("ml/") else pick(name, logs, rng)
        table = pick(changed, tables, rng)
        source = find_source(folder / name, items=folder / table if table else None)
        vectors = {"text": folder / "vectors.parquet"} if "vectors" in changed else None
        split = rng.choice(["random", "user-time", "time", "leave-one-out"])
        unit = rng.choice([None, None, "order", "iso"])
        prepare(source, folder / "out", core=1, split=split, time_unit=unit, features=vectors)
        load_dataset(folder / "out")


class Layouts(Kind):
    """The folders of all layouts."""

    @override
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
        shutil.copytree(folder / "mmrec", folder / "tensors")
        for path in (folder / "tensors").glob("*_feat.npy"):
            torch.save(torch.from_numpy(np.load(path)), path.with_suffix(".pt"))
            path.unlink()

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        name = Path(changed).parts[0]
        to = rng.choice(["native", "parquet", "csv", "recbole"])
        convert(folder / name, folder / "out", to)
        load_dataset(folder / "out")


class Vectors(Kind):
    """Existing vectors, and the items of a data set to encode."""

    @override
    def write(self, folder: Path) -> None:
        prepare_folder(folder / "data")
        np.save(folder / "v.npy", VECTORS)
        (folder / "v.txt").write_text("".join(f"i{i}\n" for i in range(9)))
        table = pl.DataFrame({"item": ITEMS["item"], "v": VECTORS})
        table.write_parquet(folder / "v.parquet")
        numbers = pl.DataFrame(VECTORS, schema=["a", "b", "c"])
        ITEMS.select("item").hstack(numbers).write_csv(folder / "v.csv")
        ITEMS.select("item").hstack(numbers).write_csv(folder / "v.tsv", separator="\t")

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        data = folder / "data"
        files = ["v.npy", "v.txt", "v.parquet", "v.csv", "v.tsv"]
        if changed not in files:
            join_text_columns(data, ["title", "tags"])
            find_images(data, folder)
            encode_attributes(data, "tags", [rng.choice(["tags", "words", "title"])], width=2)
        else:
            npy = changed in ("v.npy", "v.txt")
            name, ids = ("v.npy", folder / "v.txt") if npy else (changed, None)
            join_vectors(data, "more", folder / name, ids=ids)
        load_dataset(data)


class Streams(Kind):
    """Interactions and vectors on disk, also archives of arrays under the names of arrays."""

    @override
    def write(self, folder: Path) -> None:
        LOG.select("user", "item").write_parquet(folder / "log.parquet")
        table = pl.DataFrame({"item": ITEMS["item"], "text": VECTORS})
        table.write_parquet(folder / "items.parquet")
        np.save(folder / "items.npy", VECTORS)
        edges = [(int(u[1:]), int(i[1:])) for u, i, *_ in ROWS]
        np.save(folder / "edges.npy", np.array(edges))
        (folder / "parts").mkdir()
        for number, part in enumerate(LOG.iter_slices(30)):
            part.rename({"user": "who", "item": "what"}).write_parquet(
                folder / "parts" / f"{number}.parquet"
            )

    @override
    def change(self, folder: Path, path: Path, rng: random.Random) -> bool:
        place = folder / path
        if path.suffix == ".npy" and rng.random() < 0.3:
            array = np.load(place)
            with place.open("wb") as file:
                rng.choice([np.savez, np.savez_compressed])(file, array, other=array)
            return rng.random() < 0.5 or super().change(folder, Path("items.parquet"), rng)
        return super().change(folder, path, rng)

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        npy = changed.endswith(".npy")
        files = {"text": folder / ("items.npy" if npy else "items.parquet")}
        log = folder / ("edges.npy" if npy else "log.parquet")
        features, ids = read_item_features(files, None if npy or rng.random() < 0.5 else log)
        columns = ("user", "item")
        if not npy and (changed.startswith("parts") or rng.random() < 0.2):
            log, columns = folder / "parts", ("who", "what")
        estimator = SGURInit(n_clusters=2, random_state=0)
        estimator.stream(log, features, folder / "out", item_ids=ids, columns=columns)


class Archives(Kind):
    """Downloaded archives."""

    @override
    def write(self, folder: Path) -> None:
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in (("a/ratings.csv", LOG.write_csv()), ("a/README", "text")):
                archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)

    @override
    def change(self, folder: Path, path: Path, rng: random.Random) -> bool:
        how = rng.random()
        if how < 0.7:
            return super().change(folder, path, rng)
        method = rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        size = rng.choice([1_000, 10_000_000, 40_000_000])
        name = rng.choice(["../b", "/b", "a/b/../../../c", "b\\c", "a", "b" * 300, "b\0c"])
        with zipfile.ZipFile(folder / path, "a", method) as archive:
            archive.writestr(zipfile.ZipInfo(name), b"0" * size, method)
        if how > 0.9:  # a member that says that it is smaller, or larger
            content = (folder / path).read_bytes()
            lie = rng.choice([99, 2**31]).to_bytes(4, "little")
            (folder / path).write_bytes(content.replace(size.to_bytes(4, "little"), lie))
        return False

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        before = sorted(folder.parent.iterdir())
        _unpack(folder / "a.zip")
        size = sum(path.stat().st_size for path in (folder / "a").rglob("*"))
        assert size < 20_000_000 + 100 * (folder / "a.zip").stat().st_size
        assert sorted(folder.parent.iterdir()) == before, "files outside of the folder"
        assert {path.name for path in folder.iterdir()} == {"a", "a.zip"}


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


KINDS: dict[str, type[Kind]] = {
    "logs": Logs,
    "layouts": Layouts,
    "vectors": Vectors,
    "streams": Streams,
    "archives": Archives,
}
