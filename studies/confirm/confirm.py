"""Test the claims on data that nothing was chosen on.

    python studies/confirm/confirm.py data/citeulike studies/main --models lightgcn,bprmf \
        --out RUNS --jobs 2

No search: every arm tries, on validation and with a seed of its own, what it chose with the same
model on each data set of the main study, and the best of these is trained with five seeds. Test is
read once. Writes

- `trials.csv`: data, model, arm, the data set that the settings are from, validation Recall@20;
- `DATA/MODEL/users.parquet`: scores of every user, arm and seed on test, as in the main study.

A command that was stopped resumes. `python studies/tools/combine.py studies/confirm studies/main`
compares, and adds the mean over the data sets of both.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit import load_dataset
from sgurinit.experiments.settings import SEARCH_SEEDS

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from chosen import read_chosen, train_chosen, validate_chosen
from keep_scores import collect, keep
from resumable import Row, measure_missing

HERE = Path(__file__).parent
SEEDS = 5
MONITOR = "recall@20"
KEY = ("data", "model", "arm", "source")


def list_sources(main: Path, model: str) -> list[str]:
    """List the data sets of the main study that have chosen settings of a model."""
    return sorted(path.parts[-3] for path in main.glob(f"*/{model}/summary.json"))


def choose_source(tried: pl.DataFrame) -> str:
    """Return the data set whose settings have the best score among the trials of an arm."""
    source: str = tried.sort(MONITOR, descending=True)["source"][0]
    return source


def try_settings(path: Path, main: Path, *trial: Any) -> list[Row]:
    """Train with the settings of another data set; only validation is read."""
    _, model, arm, source = trial
    chosen = read_chosen(main / source / model)[arm]
    best = max(validate_chosen(path, model, arm, chosen, seed=SEARCH_SEEDS[0]))
    return [dict(zip(KEY, trial, strict=True)) | {MONITOR: best}]


def main() -> None:
    """Try the settings that are missing, train with the best ones and keep the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("main", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    name = given.data.name
    dataset = load_dataset(given.data)
    for model in given.models.split(","):
        sources = list_sources(given.main, model)
        if not sources:
            sys.exit(f"{given.main}: no data set has settings of {model}; run its study first")
        arms = list(read_chosen(given.main / sources[0] / model))
        wanted = [(name, model, arm, source) for arm in arms for source in sources]
        trials = HERE / "trials.csv"
        measure_missing(trials, KEY, wanted, try_settings, given.data, given.main, jobs=given.jobs)
        tried = pl.read_csv(trials).filter(data=name, model=model)
        parts = []
        for arm in arms:
            best = choose_source(tried.filter(arm=arm))
            chosen = read_chosen(given.main / best / model)[arm]
            runs = train_chosen(dataset, model, arm, chosen, SEEDS, out=given.out, jobs=given.jobs)
            parts.append(collect(runs.folder))
            print(name, model, arm, file=sys.stderr)
        keep(pl.concat(parts), HERE / name / model)


if __name__ == "__main__":
    main()
