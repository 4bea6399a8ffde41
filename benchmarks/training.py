"""Seconds per epoch and peak memory of every model, beside the public toolkit's in the same run.

    python benchmarks/training.py DATA [--toolkit CHECKOUT] [--models A,B] [--threads 1,2]

Every measurement is a process of its own, one at a time, ours and the toolkit's in turn. An epoch
is training and one full-ranking validation; figures are medians over epochs, the first left out.
`loop` is Lightning's share of our epoch: the wall time that passes outside of drawing batches,
loss, gradient, update, ranking and the checkpoints (`saving`). See `toolkit.py` for what the
toolkit needs; without `--toolkit` only our models are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import polars as pl
import torch
from toolkit import TOOLKIT

from sgurinit import load_dataset
from sgurinit.models import models
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train
from sgurinit.training.callbacks import KeepEpochs
from sgurinit.training.loop import RecommenderModule


def measure_ours(data: str, model: str, threads: int, epochs: int) -> dict[str, Any]:
    """Train in this process as a worker of a comparison does."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    ends = watch()
    with tempfile.TemporaryDirectory() as folder:
        history = train(
            load_dataset(data),
            model,
            "random",
            settings=TrainSettings(max_epochs=epochs, patience=epochs),
            folder=folder,
        ).history
    shares = [
        ((work - work_before) / (now - before), (saving - saving_before) / (now - before))
        for (before, work_before, saving_before), (now, work, saving) in pairwise(ends)
    ]
    return {
        "train_seconds": median(row["train_seconds"] for row in history[1:]),
        "valid_seconds": median(row["seconds"] - row["train_seconds"] for row in history[1:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "saving": median(saving for _, saving in shares),
        "loop": median(1 - work - saving for work, saving in shares),
    }


def watch() -> list[tuple[float, float, float]]:
    """Count the seconds that pass in what a loop of our own would do as well, and in saving.

    Returns a list to which every epoch's end, saved and all, adds the time and both counts.
    """
    spent = {"work": 0.0, "saving": 0.0}
    ends: list[tuple[float, float, float]] = []

    def timed(owner: type, name: str, part: str) -> None:
        plain = getattr(owner, name)

        @wraps(plain)
        def wrapped(*args: Any) -> Any:
            began = time.perf_counter()
            result = plain(*args)
            spent[part] += time.perf_counter() - began
            return result

        setattr(owner, name, wrapped)

    for name in (
        "train_dataloader",
        "on_train_epoch_start",
        "optimizer_zero_grad",
        "training_step",
        "backward",
        "on_validation_epoch_start",
        "validation_step",
        "on_validation_epoch_end",
    ):
        timed(RecommenderModule, name, "work")
    timed(KeepEpochs, "on_train_epoch_end", "saving")
    save = KeepEpochs.on_train_epoch_end

    def end(*args: Any) -> None:
        save(*args)
        ends.append((time.perf_counter(), spent["work"], spent["saving"]))

    KeepEpochs.on_train_epoch_end = end  # type: ignore[method-assign]
    update = torch.optim.Adam.step

    def step(self: torch.optim.Adam, closure: Callable[[], Any]) -> Any:
        # Loss and gradient are made by `closure`, from inside; they and what surrounds them there
        # count by themselves.
        began = time.perf_counter()

        def paused() -> Any:
            nonlocal began
            spent["work"] += time.perf_counter() - began
            result = closure()
            began = time.perf_counter()
            return result

        result = update(self, paused)
        spent["work"] += time.perf_counter() - began
        return result

    torch.optim.Adam.step = step  # type: ignore[method-assign]
    return ends


def measure_toolkit(
    checkout: str, data: str, model: str, threads: int, epochs: int
) -> dict[str, Any]:
    """The same epochs of the toolkit's model in a process of its own."""
    command = [str(Path(__file__).with_name("toolkit.py")), checkout, model, data]
    command += ["--epochs", str(epochs), "--threads", str(threads)]
    found = in_process(command, threads)
    return {
        "toolkit_train_seconds": median(found["train_seconds"][1:]),
        "toolkit_valid_seconds": median(found["valid_seconds"][1:]),
        "toolkit_peak_mb": found["peak_mb"],
    }


def in_process(command: list[str], threads: int) -> dict[str, Any]:
    """Run a Python file that ends with a line of JSON."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(  # noqa: S603 - our own files
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def line(row: dict[str, Any]) -> str:
    """One row of the printed table."""
    text = (
        f"{row['model']:9} {row['threads']}"
        f"  {row['train_seconds']:6.2f} +{row['valid_seconds']:5.2f} s"
        f"  {row['peak_mb']:5.0f} MB  loop {row['loop']:5.1%} saving {row['saving']:5.1%}"
    )
    if "speedup" in row:
        text += (
            f"   toolkit {row['toolkit_train_seconds']:6.2f} +{row['toolkit_valid_seconds']:5.2f} s"
            f"  {row['toolkit_peak_mb']:5.0f} MB   {row['speedup']:5.1f}x"
        )
    return text


def main() -> None:
    """Measure every model and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--toolkit", metavar="CHECKOUT")
    parser.add_argument("--models", default=",".join(sorted(models.options)))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, help="CSV file for the figures")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure_ours(args.data, args.only, int(args.threads), args.epochs)))
        return
    rows: list[dict[str, Any]] = []
    for threads in map(int, args.threads.split(",")):
        for model in args.models.split(","):
            command = [__file__, args.data, "--only", model, "--threads", str(threads)]
            row = {"model": model, "threads": threads}
            row |= in_process([*command, "--epochs", str(args.epochs)], threads)
            if args.toolkit and model in TOOLKIT:
                row |= measure_toolkit(args.toolkit, args.data, model, threads, args.epochs)
                ours = row["train_seconds"] + row["valid_seconds"]
                theirs = row["toolkit_train_seconds"] + row["toolkit_valid_seconds"]
                row["speedup"] = theirs / ours
            rows.append(row)
            print(line(row), flush=True)
            if args.out:
                pl.DataFrame(rows, infer_schema_length=None).write_csv(args.out)
        ratios = [row["speedup"] for row in rows if row["threads"] == threads and "speedup" in row]
        if ratios:
            print(f"{threads} thread(s): {geometric_mean(ratios):.1f}x in geometric mean\n")


if __name__ == "__main__":
    main()
