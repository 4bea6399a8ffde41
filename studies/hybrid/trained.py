"""Train models from the hybrid, from its shuffled control and from random values.

    python studies/hybrid/trained.py data/lastfm data/ml-100k data/tiktok data/amazon-beauty

Only validation is read. All arms get the settings that suit random values: the L2 penalty of BPR-MF
and LightGCN is searched with random values on seed 0, beyond the grid while its largest value is
the best. The other models keep their defaults. Writes `trained.csv`, a row per run, and in `users/`
the scores of every user in each run (not kept in git). A command that was stopped resumes.

`--label` renames an arm in the results. The rows of `hybrid before` are from this script with the
library at commit 5bf0d3c, the last one with the former hybrid:

    PYTHONPATH=OLD/src python studies/hybrid/trained.py DATA --arms hybrid --label "hybrid before"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch

from sgurinit import load_dataset, train
from sgurinit.evaluation import FullRanking
from sgurinit.models import Recommender
from sgurinit.runtime import keep_freed_memory

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "trained.csv"
USERS = Path(__file__).parent / "users"
KEY = ["data", "model", "arm", "reg", "seed"]
MODELS = ("bprmf", "lightgcn", "freedom", "mgcn")
ARMS = ("random", "hybrid", "hybrid-shuffled")
PENALTIES = {"bprmf": (1e-3, 1e-2, 1e-1, 1.0), "lightgcn": (0.0, 1e-5, 1e-4, 1e-3, 1e-2)}
METRICS = ("recall@20", "ndcg@20")
Run = tuple[str, str, str, float | None, int]


def measure(paths: dict[str, str], labels: dict[str, str], *run: str | float | None) -> list[Row]:
    """Train once; score the start and the best epoch."""
    torch.set_num_threads(1)
    keep_freed_memory()
    row: Row = dict(zip(KEY, run, strict=True))
    dataset = load_dataset(paths[row["data"]])
    ranking = FullRanking(dataset, "valid")
    found: dict[str, dict[str, np.ndarray]] = {}

    def score(stage: str, model: Recommender) -> None:
        with torch.no_grad():
            found[stage] = ranking.evaluate(model.make_scorer())

    trained = train(
        dataset,
        row["model"],
        labels.get(row["arm"], row["arm"]),
        config={} if row["reg"] is None else {"reg": row["reg"]},
        seed=row["seed"],
        on_stage=score,
    )
    # The library of `hybrid before` did not count the start as an epoch.
    found["best"] = max(found.values(), key=lambda scores: float(scores["recall@20"].mean()))
    scores = {
        f"{stage} {name}": found[stage][name] for stage in ("start", "best") for name in METRICS
    }
    USERS.mkdir(exist_ok=True)
    users = pl.DataFrame({"user": ranking.users, **scores})
    users.write_parquet(USERS / f"{'_'.join(map(str, run))}.parquet")
    row |= {name: float(values.mean()) for name, values in scores.items()}
    row["epochs"] = sum(epoch["train_loss"] is not None for epoch in trained.history)
    row["seconds"] = round(sum(epoch["seconds"] for epoch in trained.history), 1)
    return [row]


def rank_penalties(data: str, model: str) -> list[float]:
    """Return the penalties that random values were trained with, the best last."""
    own = pl.read_csv(OUT).filter(data=data, model=model, arm="random", seed=0)
    return own.sort("best recall@20", "reg")["reg"].to_list()


def find_penalty(data: str, model: str) -> float | None:
    """Find the penalty that suits random values best; None is the model's default."""
    return rank_penalties(data, model)[-1] if model in PENALTIES else None


def _extend(paths: Iterable[str], models: Iterable[str]) -> Iterator[Run]:
    """Yield runs with a penalty beyond those tried so far, where the largest one is the best."""
    for data in paths:
        for model in models:
            tried = rank_penalties(data, model)
            if tried[-1] == max(tried):
                yield data, model, "random", 10 * tried[-1], 0


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--label", help="name in the results, for a single arm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    paths = {Path(path).name: path for path in given.data}
    arms = given.arms.split(",")
    labels = {given.label: arms[0]} if given.label else {}

    def run(wanted: list[Run]) -> None:
        measure_missing(OUT, KEY, wanted, measure, paths, labels, jobs=given.jobs)

    models = given.models.split(",")
    run(
        [
            (data, model, "random", reg, 0)
            for data in paths
            for model in models
            for reg in PENALTIES.get(model, ())
        ]
    )
    while larger := list(_extend(paths, PENALTIES.keys() & set(models))):
        run(larger)
    run(
        [
            (data, model, given.label or arm, find_penalty(data, model), seed)
            for model in models
            for data in paths
            for seed in range(given.seeds)
            for arm in arms
        ]
    )


if __name__ == "__main__":
    main()
