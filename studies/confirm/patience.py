"""See on validation what more patience does to the runs of a confirmation set.

    python studies/confirm/patience.py data/citeulike studies/main --models bprmf \
        --arms random,sgurinit,hybrid --jobs 2

Not part of the protocol: made after the test scores were seen. Each arm is trained with the
settings that `confirm.py` chose and its five seeds, and stops after 60 epochs without a better
validation score instead of 20. A run with less patience is the beginning of the same run, so one
gives the results of all. Only validation data are read. Writes, beside this file,

- `patience.csv`: data, model, arm, seed, patience, best epoch, validation Recall@20.

A command that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from confirm import HERE, MONITOR, SEEDS, choose_source

from sgurinit.training import TrainSettings

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from chosen import read_chosen, validate_chosen
from resumable import Row, measure_missing

PATIENCE = (20, 40, 60)
KEY = ("data", "model", "arm", "seed")


def find_best(scores: Sequence[float], patience: int) -> int:
    """Return the best epoch of a run that stops after `patience` epochs without a better one."""
    best = 0
    for epoch, score in enumerate(scores):
        if score > scores[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best


def measure(path: Path, main: Path, *run: Any) -> list[Row]:
    """Train with the largest patience; return a row for each."""
    name, model, arm, seed = run
    tried = pl.read_csv(HERE / "trials.csv").filter(data=name, model=model, arm=arm)
    chosen = read_chosen(main / choose_source(tried) / model)[arm]
    settings = TrainSettings(patience=max(PATIENCE))
    scores = validate_chosen(path, model, arm, chosen, seed=seed, settings=settings)
    rows = []
    for patience in PATIENCE:
        best = find_best(scores, patience)
        own = dict(zip(KEY, run, strict=True))
        rows.append(own | {"patience": patience, "best_epoch": best, MONITOR: scores[best]})
    return rows


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("main", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--arms", required=True)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    wanted = [
        (given.data.name, model, arm, seed)
        for model in given.models.split(",")
        for arm in given.arms.split(",")
        for seed in range(SEEDS)
    ]
    out = HERE / "patience.csv"
    measure_missing(out, KEY, wanted, measure, given.data, given.main, jobs=given.jobs)


if __name__ == "__main__":
    main()
