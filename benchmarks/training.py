"""Seconds per epoch, memory and floor of every model, beside the public toolkit in the same run.

    python benchmarks/training.py DATA [--device cpu|cuda] [--toolkit CHECKOUT] [--models A,B]
        [--threads 1,2] [--out TABLE.csv]
    python benchmarks/training.py --size baby,million [...]

DATA is a data set of any layout, in the published table TikTok. `--size` names generated ones
instead: `baby` has the size of Amazon Baby (19,445 users, 7,050 items, 4,096 and 384 columns),
`million` a million users, 200,000 items and ten million interactions (64 columns). ``tiktok``
stands for DATA, so that one run can have all three.

Every measurement is a separate process, one at a time; this library and the toolkit alternate. An
epoch is drawing its batches, training and one full-ranking validation. Figures are medians over the
epochs, without the first if there are several. Each row is written to the table when it is
measured, so a run that is cut short keeps what it has.

`--steps` trains on the first batches of an epoch only, and `--users` ranks for the first users
only; the seconds are those of a whole epoch at that rate. `--jobs` prepares several processes at a
time, while one is measured; take as many only as there are cores to spare.

`train_floor` and `valid_floor` are the least seconds that the device needs, see `floor.py`;
`times_floor` is the ratio of the epoch to both. `peak_mb` is the memory of the process, `device_mb`
that of a CUDA device. `saving` is the share of an epoch that checkpoints take. `loop` is
Lightning's share: the time outside of drawing batches, loss, gradient, update, ranking and
checkpoints. Both are measured on the CPU only, because a CUDA device works on by itself.

`toolkit.py` says what the toolkit needs. Without `--toolkit` only this library is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import polars as pl
import torch
from floor import Rates, count_ranking, count_step, measure_rates
from processes import read_peak_bytes, run_in_process, take_turn
from sizes import SIZES, write_size
from toolkit import TOOLKIT

from sgurinit import load_dataset
from sgurinit.data import Dataset
from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, Recommender, model_resolver
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import Machine, TrainSettings, train
from sgurinit.training.callbacks import EpochCheckpoints
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.sampler import TripleSampler


def measure_ours(data: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train in this process, as a worker of a comparison does."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    dataset = load_dataset(data)
    parts = cut_epochs(options.steps, options.users)
    ends = record_epochs()
    settings = TrainSettings(
        max_epochs=options.epochs, patience=options.epochs, batch_size=options.batch_size
    )
    with tempfile.TemporaryDirectory() as folder, take_turn(options.lock, options.device):
        trained = train(
            dataset,
            model,
            "random",
            settings=settings,
            folder=folder,
            machine=Machine(device=options.device),
        )
        peak, on_device = read_peak_bytes(), 0
        if options.device == "cuda":
            on_device = torch.cuda.max_memory_allocated()
        rates = measure_rates(options.device)
    # Without the start and, if there are several, the first epoch.
    kept = slice(-max(1, options.epochs - 1), None)
    rows = trained.history[kept]
    found = {
        "train_seconds": median(
            always + (row["train_seconds"] - always) / parts.steps[-1]
            for row, always in zip(rows, parts.fixed[kept], strict=True)
        ),
        "valid_seconds": median(
            row["seconds"] - row["train_seconds"] - ranking + ranking / parts.users[-1]
            for row, ranking in zip(rows, parts.ranking[kept], strict=True)
        ),
        "peak_mb": peak / 2**20,
    }
    if options.device == "cuda":
        found["device_mb"] = on_device / 2**20
    elif len(ends) > 1:
        found["saving"], found["loop"] = compute_shares(ends)
    return found | compute_floors(trained.model.cpu(), dataset, settings.batch_size, rates)


def compute_floors(
    model: Recommender, dataset: Dataset, batch_size: int, rates: Rates
) -> dict[str, float]:
    """Compute the least seconds of training and of ranking in an epoch, see `floor.py`."""
    places = np.random.default_rng(0).permutation(len(dataset.train))[:batch_size]
    size = len(places)
    users, positives = (
        torch.tensor(column[places]) for column in (dataset.train.users, dataset.train.items)
    )
    batch = Batch(users, positives, positives.flip(0))
    step = count_step(model.train(), batch)
    n_evaluated = len(FullRanking(dataset, "valid").users)
    return {
        "train_floor": (step * (len(dataset.train) / size)).seconds(rates),
        "valid_floor": count_ranking(model, n_evaluated).seconds(rates),
    }


@dataclass
class Parts:
    """Which part of each epoch was measured, filled during training.

    Attributes
    ----------
    steps, users : list of float
        Shares of the batches and of the users.
    fixed : list of float
        Seconds of training that a whole epoch takes no longer: to prepare, and to draw all batches.
    ranking : list of float
        Seconds that all users would take longer: to rank, once the vectors are there.
    """

    steps: list[float] = field(default_factory=list)
    users: list[float] = field(default_factory=list)
    fixed: list[float] = field(default_factory=list)
    ranking: list[float] = field(default_factory=list)


def cut_epochs(steps: int | None, users: int | None) -> Parts:
    """Train on the first batches and rank for the first users only, from now on; None: on all."""
    parts = Parts()
    draw, rank = TripleSampler.epoch, FullRanking.evaluate
    prepare = RecommenderModule.on_train_epoch_start

    def draw_some(self: TripleSampler, *args: Any) -> list[Batch]:
        began = time.perf_counter()
        batches = draw(self, *args)
        parts.fixed[-1] += time.perf_counter() - began
        parts.steps.append(len(batches[:steps]) / len(batches))
        return batches[:steps]

    def rank_some(self: FullRanking, score: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        everyone = self.users
        self.users = everyone[:users]
        parts.users.append(len(self.users) / len(everyone))
        began = time.perf_counter()
        try:
            return rank(self, score)
        finally:
            parts.ranking.append(time.perf_counter() - began)
            self.users = everyone

    def prepare_timed(self: RecommenderModule) -> None:
        began = time.perf_counter()
        prepare(self)
        parts.fixed.append(time.perf_counter() - began)

    TripleSampler.epoch = draw_some  # type: ignore[method-assign]
    FullRanking.evaluate = rank_some  # type: ignore[method-assign]
    RecommenderModule.on_train_epoch_start = prepare_timed  # type: ignore[method-assign]
    return parts


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
        "on_train_epoch_start",
        "training_step",
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
    return ends


def measure_toolkit(data: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train the toolkit's model for the same epochs in a separate process."""
    found = run_in_process(
        Path(__file__).with_name("toolkit.py"),
        options.toolkit,
        model,
        data,
        *list_options(options, "epochs", "threads", "device", "lock"),
        threads=options.threads,
    )
    return {
        "toolkit_train_seconds": median(found["train_seconds"][1:]),
        "toolkit_valid_seconds": median(found["valid_seconds"][1:]),
        "toolkit_peak_mb": found["peak_mb"],
    }


def list_options(options: argparse.Namespace, *names: str) -> Iterator[str]:
    """List options as words of a command; those that are not set are left out."""
    for name in names:
        value = getattr(options, name)
        if value is not None:
            yield from (f"--{name.replace('_', '-')}", str(value))


def measure(size: str, data: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a model, and the toolkit's if there is one, in separate processes."""
    names = ("threads", "epochs", "device", "steps", "users", "batch_size", "lock")
    row = {"size": size, "model": model, "device": options.device, "threads": options.threads}
    words = list_options(options, *names)
    row |= run_in_process(__file__, data, "--only", model, *words, threads=options.threads)
    ours = row["train_seconds"] + row["valid_seconds"]
    row["times_floor"] = ours / (row["train_floor"] + row["valid_floor"])
    with_toolkit = size not in SIZES or SIZES[size].with_toolkit
    if options.toolkit and with_toolkit and model in TOOLKIT:
        row |= measure_toolkit(data, model, options)
        row["speedup"] = (row["toolkit_train_seconds"] + row["toolkit_valid_seconds"]) / ours
    return row


def format_row(row: dict[str, Any]) -> str:
    """Format a row of the printed table."""
    text = (
        f"{row['size']:8} {row['model']:9} {row['threads']}"
        f"  {row['train_seconds']:7.3f} +{row['valid_seconds']:7.3f} s"
        f"  {row['peak_mb']:5.0f} MB"
        f"  floor {row['train_floor']:7.4f} +{row['valid_floor']:7.4f} s {row['times_floor']:5.1f}x"
    )
    if "device_mb" in row:
        text += f"  device {row['device_mb']:5.0f} MB"
    if "loop" in row:
        text += f"  loop {row['loop']:5.1%} saving {row['saving']:5.1%}"
    if "speedup" in row:
        text += (
            f"   toolkit {row['toolkit_train_seconds']:6.2f} +{row['toolkit_valid_seconds']:5.2f} s"
            f"  {row['toolkit_peak_mb']:5.0f} MB   {row['speedup']:5.1f}x"
        )
    return text


def measure_all(
    runs: Sequence[tuple[str, str, str, argparse.Namespace]], jobs: int, out: Path | None
) -> list[dict[str, Any]]:
    """Measure in turn, and print and write each row when it is there."""
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(measure, *run) for run in runs]):
            try:
                rows.append(done.result())
            except SystemExit as failure:  # of one model; the others are measured
                print(failure, file=sys.stderr, flush=True)
                continue
            print(format_row(rows[-1]), flush=True)
            if out:
                pl.DataFrame(rows, infer_schema_length=None).write_csv(out)
    return rows


def main(words: Sequence[str] | None = None) -> None:
    """Measure every model, and print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--size", default="tiktok", help=f"of tiktok (DATA), {', '.join(SIZES)}")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--toolkit", metavar="CHECKOUT")
    parser.add_argument("--models", help="default: all with DATA, four of a generated size")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, help="batches of an epoch to train on")
    parser.add_argument("--users", type=int, help="users to rank for")
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--jobs", type=int, default=1, help="processes that prepare at a time")
    parser.add_argument("--out", type=Path, help="CSV file of the table")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--lock", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.only:
        args.threads = int(args.threads)
        print(json.dumps(measure_ours(args.data, args.only, args)))
        return
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: torch finds no CUDA device here")
    sizes = args.size.split(",")
    unknown = [size for size in sizes if size != "tiktok" and size not in SIZES]
    if unknown or ("tiktok" in sizes and not args.data):
        parser.error(f"--size: name {', '.join(SIZES)}, or tiktok together with DATA")
    threads = list(map(int, args.threads.split(",")))
    with tempfile.TemporaryDirectory() as temporary:
        args.lock = Path(temporary, "lock") if args.jobs > 1 else None
        runs = []
        for size in sizes:
            data = str(write_size(size, Path(temporary)) if size in SIZES else args.data)
            default = SIZES[size].models if size in SIZES else sorted(model_resolver.options)
            models = args.models.split(",") if args.models else default
            runs += [
                (size, data, model, argparse.Namespace(**{**vars(args), "threads": count}))
                for count in threads
                for model in models
            ]
        rows = measure_all(runs, args.jobs, args.out)
    for size in sizes:
        for count in threads:
            ratios = [
                row["speedup"]
                for row in rows
                if (row["size"], row["threads"]) == (size, count) and "speedup" in row
            ]
            if ratios:
                mean = geometric_mean(ratios)
                print(f"{size}, {count} thread(s): {mean:.1f}x in geometric mean")


if __name__ == "__main__":
    main()
