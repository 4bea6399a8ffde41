"""Train with a fifth of the items held out, and see whether they are found.

    python studies/held_out/held_out.py data/lastfm studies/main/lastfm --models lightgcn,bprmf \
        --out RUNS --jobs 2

Every arm has the settings that it chose with all items, from the `summary.json` of its model in the
second folder. Half of the held-out items are in the test data. The others are left out, because no
service has interactions with new items to choose an epoch by; with `--new-in-validation` they are
in the validation data. Writes, or replaces, the rows of these data and models in two tables:

- `scores.csv`: data, model, validation, arm, group, metric, mean and sd over the seeds;
- `lifts.csv`: data, model, validation, group, metric, arm, against, and the difference of the two
  means, absolute and relative, with 95 % intervals from a crossed bootstrap over users and seeds.

The groups are all users, "cold items" (the held-out items among all items), "cold among cold"
(among themselves), "tail items" and "head items". A command that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit import load_dataset
from sgurinit.data import Dataset, Interactions, hold_out_items
from sgurinit.evaluation import bootstrap_lifts
from sgurinit.experiments import Comparison
from sgurinit.experiments.user_scores import read_scores_by_group

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from chosen import read_chosen, train_chosen

HERE = Path(__file__).parent
SHARE, SEEDS = 0.2, 5
ARMS = ("random", "sgurinit", "permuted", "hybrid", "hybrid-shuffled")
PAIRS = (
    ("sgurinit", "random"), ("sgurinit", "permuted"),
    ("hybrid", "random"), ("hybrid", "hybrid-shuffled"),
)  # fmt: skip
GROUPS = ("all", "cold items", "cold among cold", "tail items", "head items")
METRICS = ("recall@20", "ndcg@20")
INTERVAL = (
    "mean_difference", "difference_low", "difference_high", "lift", "low", "high", "p_value",
)  # fmt: skip
KEY = ("data", "model", "validation", "arm", "against", "group", "metric")
Row = dict[str, Any]
Scores = dict[str, dict[str, np.ndarray]]


def hold_out(dataset: Dataset, *, new_in_validation: bool) -> Dataset:
    """Hold items out of training."""
    dataset = hold_out_items(dataset, SHARE)
    if new_in_validation:
        return dataset
    known = dataset.popularity()[dataset.valid.items] > 0
    valid = Interactions(dataset.valid.users[known], dataset.valid.items[known])
    return replace(dataset, valid=valid)


def read_scores(found: Comparison, model: str, arm: str) -> Scores:
    """Scores of every group and metric, shape (n_seeds, n_users)."""
    folders = (found.folder / "runs" / model / arm / f"seed-{seed}" for seed in range(SEEDS))
    runs = [dict(read_scores_by_group(folder)) for folder in folders]
    return {
        group: {metric: np.stack([run[group][metric] for run in runs]) for metric in METRICS}
        for group in GROUPS
    }


def describe(scores: dict[str, Scores]) -> list[Row]:
    """Mean and spread of every arm."""
    rows = []
    for arm, groups in scores.items():
        for group, metrics in groups.items():
            for metric, values in metrics.items():
                means = values.mean(axis=1)
                row = {"arm": arm, "group": group, "metric": metric}
                rows.append(row | {"mean": float(means.mean()), "sd": float(means.std(ddof=1))})
    return rows


def compare_arms(scores: dict[str, Scores]) -> list[Row]:
    """Differences of the pairs of arms, with intervals."""
    rows = []
    for group in scores[ARMS[0]]:
        for metric in METRICS:
            columns = np.stack([scores[arm][group][metric] for arm in ARMS], axis=-1)
            places = [(ARMS.index(arm), ARMS.index(against)) for arm, against in PAIRS]
            for (arm, against), of in zip(PAIRS, bootstrap_lifts(columns, places), strict=True):
                row = {"group": group, "metric": metric, "arm": arm, "against": against}
                rows.append(row | {name: getattr(of, name) for name in INTERVAL})
    return rows


def replace_rows(path: Path, rows: list[Row]) -> None:
    """Write rows into a table, in place of those with the same key."""
    new = pl.DataFrame(rows, infer_schema_length=None)
    if path.is_file():
        key = [name for name in KEY if name in new.columns]
        old = pl.read_csv(path, schema=new.schema).join(new, on=key, how="anti")
        new = pl.concat([old, new])
    new.write_csv(path)


def main() -> None:
    """Train what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder, or xwines")
    parser.add_argument("chosen", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--new-in-validation", action="store_true")
    arguments = parser.parse_args()
    has_new = arguments.new_in_validation
    dataset = hold_out(load_dataset(arguments.data), new_in_validation=has_new)
    about = {
        "data": Path(arguments.data).name,
        "validation": "known and new" if has_new else "known",
    }
    for model in arguments.models.split(","):
        chosen = read_chosen(arguments.chosen / model)
        scores = {}
        for arm in ARMS:
            found = train_chosen(
                dataset, model, arm, chosen[arm], SEEDS, out=arguments.out, jobs=arguments.jobs
            )
            scores[arm] = read_scores(found, model, arm)
            print(*about.values(), model, arm, file=sys.stderr)
        own = about | {"model": model}
        replace_rows(HERE / "scores.csv", [own | row for row in describe(scores)])
        replace_rows(HERE / "lifts.csv", [own | row for row in compare_arms(scores)])


if __name__ == "__main__":
    main()
