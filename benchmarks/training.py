"""Seconds per epoch and peak memory of every model, beside the public toolkit in the same run.

    python benchmarks/training.py DATA [--toolkit CHECKOUT] [--models A,B] [--threads 1,2]

Every measurement is a separate process, one at a time; this library and the toolkit alternate. An
epoch is training and one full-ranking validation. Figures are medians over the epochs, without the
first.

`saving` is the share of an epoch that checkpoints take. `loop` is Lightning's share: the time
outside of drawing batches, loss, gradient, update, ranking and checkpoints.

`toolkit.py` says what the toolkit needs. Without `--toolkit` only this library is measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import polars as pl
import torch
from processes import read_peak_bytes, run_in_process
from toolkit import TOOLKIT

from sgurinit import load_dataset
from sgurinit.models import model_resolver
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train
from sgurinit.training.callbacks import EpochCheckpoints
from sgurinit.training.loop import RecommenderModule


def measure_ours(data: str, model: str, threads: int, epochs: int) -> dict[str, Any]:
    """Train in this process, as a worker of a comparison does."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    ends = record_epochs()
    with tempfile.TemporaryDirectory() as folder:
        history = train(
            load_dataset(data),
            model,
            "random",
            settings=TrainSettings(max_epochs=epochs, patience=epochs),
            folder=folder,
        ).history
    rows = history[2:]  # without the start and the first epoch
    saving, loop = compute_shares(ends)
    return {
        "train_seconds": median(row["train_seconds"] for row in rows),
        "valid_seconds": median(row["seconds"] - row["train_seconds"] for row in rows),
        "peak_mb": read_peak_bytes() / 2**20,
        "saving": saving,
        "loop": loop,
    }


def compute_shares(ends: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Compute the median shares of saving and of the loop in an epoch.

    Parameters
    ----------
    ends : sequence of (float, float, float)
        For the end of each epoch the time, and the seconds of work and of saving so far. The first
        epoch is not counted.
    """
    shares = [
        ((work - work_before) / (now - before), (saving - saving_before) / (now - before))
        for (before, work_before, saving_before), (now, work, saving) in pairwise(ends)
    ]
    saving_share = median(saving for _, saving in shares)
    return saving_share, median(1 - work - saving for work, saving in shares)


def record_epochs() -> list[tuple[float, float, float]]:
    """Measure the seconds of work, which any training loop has, and of saving, from now on.

    Returns
    -------
    list of (float, float, float)
        Filled during training, as described in `compute_shares`.
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
    timed(EpochCheckpoints, "on_train_epoch_end", "saving")
    save = EpochCheckpoints.on_train_epoch_end

    def end(*args: Any) -> None:
        save(*args)
        ends.append((time.perf_counter(), spent["work"], spent["saving"]))

    EpochCheckpoints.on_train_epoch_end = end  # type: ignore[method-assign]
    update = torch.optim.Adam.step

    def step(self: torch.optim.Adam, closure: Callable[[], Any]) -> Any:
        # The optimizer calls `closure`, which computes loss and gradient. These are measured on
        # their own, so the time in `closure` is not counted here.
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
    """Train the toolkit's model for the same epochs in a separate process."""
    options = ("--epochs", str(epochs), "--threads", str(threads))
    script = Path(__file__).with_name("toolkit.py")
    found = run_in_process(script, checkout, model, data, *options, threads=threads)
    return {
        "toolkit_train_seconds": median(found["train_seconds"][1:]),
        "toolkit_valid_seconds": median(found["valid_seconds"][1:]),
        "toolkit_peak_mb": found["peak_mb"],
    }


def measure(
    data: str, model: str, threads: int, epochs: int, toolkit: str | None
) -> dict[str, Any]:
    """Measure a model, and the toolkit's if there is one, in separate processes."""
    options = ("--only", model, "--threads", str(threads), "--epochs", str(epochs))
    row = {"model": model, "threads": threads}
    row |= run_in_process(__file__, data, *options, threads=threads)
    if toolkit and model in TOOLKIT:
        row |= measure_toolkit(toolkit, data, model, threads, epochs)
        ours = row["train_seconds"] + row["valid_seconds"]
        theirs = row["toolkit_train_seconds"] + row["toolkit_valid_seconds"]
        row["speedup"] = theirs / ours
    return row


def format_row(row: dict[str, Any]) -> str:
    """Format a row of the printed table."""
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


def main(words: Sequence[str] | None = None) -> None:
    """Measure every model, and print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--toolkit", metavar="CHECKOUT")
    parser.add_argument("--models", default=",".join(sorted(model_resolver.options)))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, help="CSV file of the table")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.only:
        print(json.dumps(measure_ours(args.data, args.only, int(args.threads), args.epochs)))
        return
    rows: list[dict[str, Any]] = []
    for threads in map(int, args.threads.split(",")):
        for model in args.models.split(","):
            rows.append(measure(args.data, model, threads, args.epochs, args.toolkit))
            print(format_row(rows[-1]), flush=True)
            if args.out:
                pl.DataFrame(rows, infer_schema_length=None).write_csv(args.out)
        ratios = [row["speedup"] for row in rows if row["threads"] == threads and "speedup" in row]
        if ratios:
            print(f"{threads} thread(s): {geometric_mean(ratios):.1f}x in geometric mean\n")


if __name__ == "__main__":
    main()
