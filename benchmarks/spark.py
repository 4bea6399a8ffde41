"""Time, memory and shuffles of the method on Spark, beside the core on the same machine.

    python benchmarks/spark.py sizes FOLDER [--sizes 1e6,1e7,3e7]   # -> benchmarks/spark_sizes.csv
    python benchmarks/spark.py skew FOLDER [--sizes 1e7]            # -> benchmarks/spark_skew.csv

`sizes` makes the logs of `core.py stream` in FOLDER: ten interactions per user, a hundred per item,
and features of 64 columns. It computes the users with K = 64 and defaults for all else, first with
`sgurinit.spark` on `local[2]`, then with `SGURInit.stream` of the core on two threads. Both write
files. `--partitions` sets the number of Spark's shuffle partitions.

`skew` makes logs of distinct pairs, five per user and ten per item. One log is even. In the other,
one user has 5 % of all interactions and one item 10 %. Spark computes the users of both, once with
items broadcast to all executors and once, `joined`, with interactions brought to items.

CPU seconds count all processes of an engine, so they mean the same on a machine that other work
shares. Peak memory is the resident memory of Java, and of all of its Python workers together, read
five times a second. Shuffle bytes are the written ones, from Spark's event log.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
from processes import parse_sizes, read_peak_bytes, run_in_process

from core import make_log

HERE = Path(__file__).parent
CLUSTERS = 64


def make_items(folder: Path) -> Path:
    """Write the features of `make_log` as Parquet with ids."""
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
    """Make a log of distinct pairs, with or without a hot user and a hot item."""
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


@dataclass(frozen=True)
class Process:
    """A line of ``/proc/<pid>/stat``."""

    parent: int
    name: str
    rss: int  # bytes
    cpu_seconds: float  # with those of finished children


def list_processes() -> dict[int, Process]:
    """List the processes of this machine."""
    processes = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it ended meanwhile
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text[text.rindex(")") + 2 :].split()  # from the third field on, see proc(5)
        processes[int(path.parent.name)] = Process(
            parent=int(fields[1]),
            name=name,
            rss=int(fields[21]) * resource.getpagesize(),
            cpu_seconds=sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"),
        )
    return processes


def find_descendants(processes: Mapping[int, Process], ancestor: int) -> list[Process]:
    """Find all processes below one."""
    children = [pid for pid, process in processes.items() if process.parent == ancestor]
    below = [found for pid in children for found in find_descendants(processes, pid)]
    return [processes[pid] for pid in children] + below


@contextmanager
def watch_descendants() -> Iterator[dict[str, float]]:
    """Record the peak memory of Java and of Python below this process, and their CPU seconds."""
    peaks = {"java_gb": 0.0, "workers_gb": 0.0, "cpu_seconds": 0.0}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            found = find_descendants(list_processes(), os.getpid())
            now = {
                # By name: a child that Java is about to start shares its memory for a moment.
                "java_gb": sum(p.rss for p in found if "java" in p.name) / 1e9,
                "workers_gb": sum(p.rss for p in found if "python" in p.name) / 1e9,
                "cpu_seconds": sum(p.cpu_seconds for p in found),
            }
            for kind, value in now.items():
                peaks[kind] = max(peaks[kind], value)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def run_spark(folder: Path, partitions: int, broadcast: int, memory: str) -> dict[str, Any]:
    """Compute the users of a log with Spark, to Parquet."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - not needed for the core

    from sgurinit.spark import SparkSGURInit  # noqa: PLC0415

    os.environ["PYSPARK_PYTHON"] = sys.executable
    out = folder / "users"
    rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary, watch_descendants() as peaks:
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
        estimator = SparkSGURInit(n_clusters=CLUSTERS, random_state=0, broadcast_bytes=broadcast)
        model = estimator.fit(interactions, {"a": items})
        fitted = time.perf_counter()
        model.users.write.parquet(str(out))
        seconds = time.perf_counter() - began
        session.stop()
        shuffled, stages = read_events(Path(temporary))
    files = sum(path.stat().st_size for path in out.glob("*.parquet"))
    rmtree(out)
    return {
        "seconds": seconds,
        "fit_seconds": fitted - began,
        "users_seconds": seconds - (fitted - began),
        "driver_gb": read_peak_bytes() / 1e9,
        **peaks,
        "cpu_seconds": peaks["cpu_seconds"] - warm,
        "shuffle_gb": shuffled / 1e9,
        "users_gb": files / 1e9,
        "stages": stages,
    }


def read_events(folder: Path) -> tuple[int, int]:
    """Read the bytes written to shuffles and the number of completed stages from event logs."""
    written, stages = 0, 0
    for path in folder.rglob("*"):
        if not path.is_file() or not ("event" in path.name or "local-" in path.name):
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"SparkListenerTaskEnd"' in line:
                    metrics = json.loads(line).get("Task Metrics")
                    if metrics:  # a failed task has none
                        written += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
                stages += '"SparkListenerStageCompleted"' in line
    return written, stages


def run_core(folder: Path) -> dict[str, Any]:
    """Compute the users of the same log with the core, to files."""
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
        "driver_gb": read_peak_bytes() / 1e9,
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }


def run_part(arguments: Sequence[str]) -> dict[str, Any]:
    """Run the part of a measurement that runs in a separate process."""
    engine, folder, *rest = arguments
    if engine == "core":
        return run_core(Path(folder))
    return run_spark(Path(folder), int(rest[0]), int(rest[1]), rest[2])


def measure(labels: dict[str, Any], size: int, *part: str) -> dict[str, Any]:
    """Run a part and make a row of the table from its labels and figures."""
    found = run_in_process(__file__, "--part", *part, threads=2)
    rate = found["cpu_seconds"] / size * 1e6
    row = {**labels, "interactions": size, **found, "cpu_seconds_per_million": rate}
    print(row, flush=True)
    return row


def measure_sizes(parent: Path, sizes: Sequence[int], options: Sequence[str]) -> pl.DataFrame:
    """Measure Spark and the core on logs of several sizes."""
    rows = []
    for size in sizes:
        folder = parent / str(size)
        make_log(folder, size, per_item=100)
        make_items(folder)
        rows.append(measure({"engine": "spark"}, size, "spark", str(folder), *options))
        rows.append(measure({"engine": "core"}, size, "core", str(folder)))
    return pl.DataFrame(rows, infer_schema_length=None)


def measure_skew(parent: Path, sizes: Sequence[int], options: Sequence[str]) -> pl.DataFrame:
    """Measure Spark on even and on skewed logs, with items broadcast and joined."""
    partitions, broadcast_bytes, memory = options
    rows = []
    for size in sizes:
        for data in ("even", "skewed"):
            folder = parent / f"{data}-{size}"
            make_skewed(folder, size, skewed=data == "skewed")
            for way, limit in (("broadcast", broadcast_bytes), ("joined", "0")):
                part = ("spark", str(folder), partitions, limit, memory)
                rows.append(measure({"data": data, "way": way}, size, *part))
    return pl.DataFrame(rows, infer_schema_length=None)


def main(words: Sequence[str] | None = None) -> None:
    """Run a measurement and write its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["sizes", "skew"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sizes")
    parser.add_argument("--partitions", type=int, default=16, help="shuffle partitions")
    parser.add_argument("--memory", default="3g", help="heap of Java")
    parser.add_argument("--out", type=Path, help="CSV file of the table")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.part:
        print(json.dumps(run_part(arguments.part)))
        return
    options = [str(arguments.partitions), str(1 << 29), arguments.memory]
    if arguments.what == "sizes":
        sizes = parse_sizes(arguments.sizes or "1e6,1e7,3e7")
        table = measure_sizes(arguments.folder, sizes, options)
    else:
        table = measure_skew(arguments.folder, parse_sizes(arguments.sizes or "1e7"), options)
    table.write_csv(arguments.out or HERE / f"spark_{arguments.what}.csv")
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=60):
        print(table)


if __name__ == "__main__":
    main()
