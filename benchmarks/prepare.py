"""Time and memory of making a data set from a raw log of any size.

    python benchmarks/prepare.py FOLDER [--sizes 1e6,1e7,3e7,1e8]  # -> benchmarks/prepare.csv

Makes logs in FOLDER: CSV with text ids, ratings and times, about fifteen interactions per user and
a hundred and fifty per item. Prepares each log in a separate process: ratings of at least 2,
5-core, random 8:1:1. `peak_gb` is the highest memory of that process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
from processes import parse_sizes, read_peak_bytes, run_in_process

from sgurinit.data.prepare import prepare

HERE = Path(__file__).parent
CHUNK = 1 << 22  # interactions generated at a time


def make_log(path: Path, size: int) -> None:
    """Make a log whose users and items have long tails."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        for first in range(0, size, CHUNK):
            count = min(CHUNK, size - first)
            users = (rng.random(count) ** 1.5 * (size // 15)).astype(np.int64)
            items = (rng.random(count) ** 2 * (size // 150)).astype(np.int64)
            pl.DataFrame(
                {
                    "user": pl.Series(users).cast(pl.String).str.zfill(10).str.replace("^", "A"),
                    "item": pl.Series(items).cast(pl.String).str.zfill(9).str.replace("^", "B"),
                    "rating": rng.integers(1, 6, count),
                    "timestamp": rng.integers(1_000_000_000, 1_700_000_000, count),
                }
            ).write_csv(file, include_header=first == 0)
    partial.replace(path)


def measure(path: Path) -> dict[str, Any]:
    """Prepare a log and measure each stage."""
    out = path.with_suffix("")
    rmtree(out, ignore_errors=True)
    marks: list[tuple[str, float]] = []
    began = time.perf_counter()
    card = prepare(
        path,
        out,
        min_value=2,
        progress=lambda at, *_: marks.append((at, time.perf_counter())),
    )
    ended = time.perf_counter()
    rmtree(out)
    stages: dict[str, float] = {}
    ends = [moment for _, moment in marks[1:]] + [ended]
    for (stage, moment), end in zip(marks, ends, strict=True):
        stages[stage] = stages.get(stage, 0.0) + end - moment
    return {
        "kept": card.steps[-1].interactions,
        "seconds": ended - began,
        "peak_gb": read_peak_bytes() / 1e9,
        **{f"{stage} s": spent for stage, spent in stages.items()},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure all sizes and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", default="1e6,1e7,3e7,1e8")
    parser.add_argument("--out", type=Path, default=HERE / "prepare.csv", help="CSV file")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.part:
        print(json.dumps(measure(arguments.folder)))
        return
    rows = []
    for size in parse_sizes(arguments.sizes):
        path = arguments.folder / f"log-{size}.csv"
        make_log(path, size)
        found = run_in_process(__file__, str(path), "--part", threads=2)
        rows.append({"interactions": size, **found})
        print(f"{size:>11,} {found['seconds']:7.1f} s {found['peak_gb']:5.2f} GB", flush=True)
    pl.DataFrame(rows).write_csv(arguments.out)


if __name__ == "__main__":
    main()
