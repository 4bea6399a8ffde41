"""Time, memory and shuffles of the method on Spark, beside the core on the same machine.

    python benchmarks/spark.py sizes FOLDER [--sizes 1e6,1e7,3e7]   # -> benchmarks/spark_sizes.csv
    python benchmarks/spark.py skew FOLDER [--sizes 1e7]            # -> benchmarks/spark_skew.csv

`sizes` makes logs with ten interactions per user and a hundred per item and features of 64 columns
in FOLDER (those of `core.py stream`), and computes the users, K = 64 and all else the method's
defaults, with `sgurinit.spark` on `local[2]` and with the core's `SGURInit.stream` on two threads,
to files, one after the other. With `--partitions` Spark's shuffles have that many.
`skew` makes logs of distinct pairs, five per user and ten per item: even ones, and ones in which
one user has 5 % of all interactions and one item 10 %. Both run with items sent to all executors
and, `joined`, with interactions brought to items.
CPU seconds count all processes of an engine, so they mean the same on a machine that is shared.
Peak memory is that of the resident set, read five times a second: Java, and all of its Python
workers together. Shuffle bytes are those written, from Spark's event log.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
import psutil

from core import make_log, peak_gb

HERE = Path(__file__).parent
CLUSTERS = 64


def make_items(folder: Path) -> Path:
    """The features of `make_log` as Parquet with ids."""
    path = folder / "items.parquet"
    if not path.exists():
        rows = np.load(folder / "a.npy").astype(np.float32)
        vector = pl.Series("vector", rows, dtype=pl.Array(pl.Float32, rows.shape[1]))
        table = pl.DataFrame([pl.Series("item", np.arange(len(rows))), vector])
        table.with_columns(pl.col("vector").arr.to_list()).write_parquet(
            path, row_group_size=1 << 16
        )
    return path


def make_skewed(folder: Path, size: int, *, skewed: bool) -> None:
    """Distinct pairs; a hot user and a hot item, or none."""
    if (folder / "items.parquet").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    n_users, n_items = size // 5, size // 10
    rng = np.random.default_rng(0)
    users = rng.integers(1, n_users, size=size)
    items = rng.integers(1, n_items, size=size)
    if skewed:
        hot = size // 20
        users[:hot], items[:hot] = 0, np.arange(hot)
        items[hot : 3 * hot], users[hot : 3 * hot] = 0, np.arange(1, 2 * hot + 1)
    order = rng.permutation(size)
    table = pl.DataFrame({"user": users[order], "item": items[order]}).unique(maintain_order=True)
    for part, first in enumerate(range(0, len(table), 1 << 21)):
        table[first : first + (1 << 21)].write_parquet(folder / f"log-{part:03}.parquet")
    directions = rng.normal(size=(8, 64))
    rows = rng.normal(size=(n_items, 8)) @ directions + rng.normal(size=(n_items, 64))
    np.save(folder / "a.npy", rows.astype(np.float16))
    make_items(folder)


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Peak memory of what runs below this process, Java and Python workers, and its CPU seconds."""
    peaks = {"java_gb": 0.0, "workers_gb": 0.0, "cpu_seconds": 0.0}
    done = threading.Event()

    def look() -> None:
        # By name: a child that Java is about to start shares its memory for a moment.
        me, kinds = psutil.Process(), {"java_gb": "java", "workers_gb": "python"}
        while not done.wait(0.2):
            now = dict.fromkeys(peaks, 0.0)
            for process in me.children(recursive=True):
                try:
                    for kind, name in kinds.items():
                        now[kind] += process.memory_info().rss / 1e9 * (name in process.name())
                    # Those of workers that are gone are the daemon's that waited for them.
                    now["cpu_seconds"] += sum(process.cpu_times()[:4])
                except psutil.Error:
                    continue
            for kind, value in now.items():
                peaks[kind] = max(peaks[kind], value)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def on_spark(folder: Path, partitions: int, broadcast: int, memory: str) -> dict[str, Any]:
    """The method on Spark, to Parquet."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - the core does without

    from sgurinit.spark import SGURInit  # noqa: PLC0415

    os.environ["PYSPARK_PYTHON"] = sys.executable
    out = folder / "users"
    rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary, watched() as peaks:
        settings = {
            "spark.driver.memory": memory,
            "spark.local.dir": temporary,
            "spark.sql.shuffle.partitions": str(partitions),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",
            "spark.eventLog.dir": f"file://{temporary}",
        }
        builder = SparkSession.builder.master("local[2]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        interactions = session.read.parquet(str(folder / "log-*.parquet"))
        items = session.read.parquet(str(folder / "items.parquet"))
        session.range(1).count()
        warm, began = peaks["cpu_seconds"], time.perf_counter()
        estimator = SGURInit(n_clusters=CLUSTERS, random_state=0, broadcast_bytes=broadcast)
        model = estimator.fit(interactions, {"a": items})
        fitted = time.perf_counter()
        model.users.write.parquet(str(out))
        seconds = time.perf_counter() - began
        session.stop()
        shuffled, stages = events(Path(temporary))
    files = sum(path.stat().st_size for path in out.glob("*.parquet"))
    rmtree(out)
    return {
        "seconds": seconds,
        "fit_seconds": fitted - began,
        "users_seconds": seconds - (fitted - began),
        "driver_gb": peak_gb(),
        **peaks,
        "cpu_seconds": peaks["cpu_seconds"] - warm,
        "shuffle_gb": shuffled / 1e9,
        "users_gb": files / 1e9,
        "stages": stages,
    }


def events(folder: Path) -> tuple[int, int]:
    """Bytes written to shuffles, and stages that ran, from the event log."""
    written, stages = 0, 0
    for path in folder.rglob("*"):
        if not path.is_file() or not ("event" in path.name or "local-" in path.name):
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"SparkListenerTaskEnd"' in line:
                    metrics = json.loads(line).get("Task Metrics") or {}
                    written += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
                stages += '"SparkListenerStageCompleted"' in line
    return written, stages


def on_core(folder: Path) -> dict[str, Any]:
    """The core, from the same log, to files."""
    from sgurinit import SGURInit  # noqa: PLC0415

    out = folder / "users"
    rmtree(out, ignore_errors=True)
    features = {"a": np.load(folder / "a.npy", mmap_mode="r")}
    began = time.perf_counter()
    SGURInit(n_clusters=CLUSTERS, random_state=0, n_jobs=2).stream(
        str(folder / "log-*.parquet"), features, out
    )
    seconds = time.perf_counter() - began
    rmtree(out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "driver_gb": peak_gb(),
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }


def in_process(arguments: Sequence[str]) -> dict[str, Any]:
    """Run a part of this file in a process of its own."""
    done = subprocess.run(  # noqa: S603 - our own file
        [sys.executable, "-W", "ignore", __file__, "--part", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def run_part(arguments: Sequence[str]) -> dict[str, Any]:
    """What a process of its own does."""
    engine, folder, *rest = arguments
    if engine == "core":
        return on_core(Path(folder))
    return on_spark(Path(folder), int(rest[0]), int(rest[1]), rest[2])


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["sizes", "skew"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sizes")
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--memory", default="3g", help="Of Java.")
    parser.add_argument("--out", type=Path, help="Where the table goes.")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(run_part(arguments.part)))
        return
    rows = []

    def measure(name: dict[str, Any], size: int, *part: str) -> None:
        found = in_process(part)
        rate = found["cpu_seconds"] / size * 1e6
        rows.append({**name, "interactions": size, **found, "cpu_seconds_per_million": rate})
        print(name, f"{size:>11,} {found['seconds']:7.1f} s", rows[-1], flush=True)

    partitions, budget, memory = str(arguments.partitions), str(1 << 29), arguments.memory
    default = {"sizes": "1e6,1e7,3e7", "skew": "1e7"}[arguments.what]
    for size in (int(float(word)) for word in (arguments.sizes or default).split(",")):
        if arguments.what == "sizes":
            folder = arguments.folder / str(size)
            make_log(folder, size)
            make_items(folder)
            measure({"engine": "spark"}, size, "spark", str(folder), partitions, budget, memory)
            measure({"engine": "core"}, size, "core", str(folder))
            continue
        for data in ("even", "skewed"):
            folder = arguments.folder / f"{data}-{size}"
            make_skewed(folder, size, skewed=data == "skewed")
            for way, limit in (("broadcast", budget), ("joined", "0")):
                name = {"data": data, "way": way}
                measure(name, size, "spark", str(folder), partitions, limit, memory)
    table = pl.DataFrame(rows, infer_schema_length=None)
    table.write_csv(arguments.out or HERE / f"spark_{arguments.what}.csv")
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=60):
        print(table)


if __name__ == "__main__":
    main()
