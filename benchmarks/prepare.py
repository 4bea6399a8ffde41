"""Time and memory of making a data set from a raw log of any size.

    python benchmarks/prepare.py FOLDER [--sizes 1e6,1e7,3e7,1e8]  # -> benchmarks/prepare.csv

Makes logs in FOLDER, as CSV with text ids, ratings and times, about fifteen interactions per user
and a hundred and fifty per item, and prepares each in a process of its own: ratings of at least 2,
5-core, random 8:1:1. `peak_gb` is the highest memory of that process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl

from sgurinit.data.prepare import prepare

HERE = Path(__file__).parent
CHUNK = 1 << 22  # interactions that are generated at a time


def make_log(path: Path, size: int) -> None:
    """Write a log whose users and items have long tails."""
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
    """Prepare a log and say what it took."""
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
    ends = [moment for _, moment in marks[1:]] + [ended]
    return {
        "kept": card.steps[-1].interactions,
        "seconds": ended - began,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        **{f"{s} s": end - moment for (s, moment), end in zip(marks, ends, strict=True)},
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", default="1e6,1e7,3e7,1e8")
    parser.add_argument("--out", type=Path, default=HERE / "prepare.csv")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measure(arguments.folder)))
        return
    rows = []
    for size in (int(float(word)) for word in arguments.sizes.split(",")):
        path = arguments.folder / f"log-{size}.csv"
        make_log(path, size)
        done = subprocess.run(  # noqa: S603 - our own file
            [sys.executable, __file__, str(path), "--part"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            sys.exit(f"{path} failed:\n{done.stderr[-2000:]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append({"interactions": size, **found})
        print(f"{size:>11,} {found['seconds']:7.1f} s {found['peak_gb']:5.2f} GB", flush=True)
    pl.DataFrame(rows).write_csv(arguments.out)


if __name__ == "__main__":
    main()
