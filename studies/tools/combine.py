"""Compare arms over the models of each data set, and over the data sets.

    python studies/tools/combine.py studies/main
    python studies/tools/combine.py studies/confirm studies/main

Reads `DATA/MODEL/users.parquet` in the folders, which `keep_scores.py` writes, and writes
`lifts.csv` of the first one: data, model, arm, against, metric, n_data, n_models, n_seeds, lift,
low, high, p_value and p_holm, for its data and for the mean over the data of all folders. Intervals
are 95 %.

- A row with a model is a crossed bootstrap over users and seeds. Holm's adjustment covers the
  models of the data set.
- A row with `model` `all` compares the means over the models of the data set, with the same draws.
- Rows with `data` `all` are the random-effects mean over at least three data sets, of a model or of
  the means over the models that all data sets have (Paule and Mandel, on logarithms, with Student's
  t). The interval is Hartung and Knapp's, or the one without their factor if that is wider, as
  where the data sets agree by chance.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from statsmodels.stats.meta_analysis import combine_effects

from sgurinit.evaluation import adjust_p_values, bootstrap_lifts

CLAIMS = [
    ("sgurinit", "random"),
    ("sgurinit", "permuted"),
    ("sgurinit", "random-scaled"),
    ("hybrid", "random"),
    ("hybrid", "hybrid-shuffled"),
    ("hybrid", "collaborative"),
    ("hybrid", "sgurinit"),
]
METRICS = ("recall@20", "ndcg@20")
ALL = "all"
_LEAST_DATA_SETS = 3  # a mean of two has one degree of freedom
_NORMAL = 1.959964  # half of a 95 % interval in standard errors
Row = dict[str, Any]


def stack_scores(users: pl.DataFrame, metric: str) -> dict[tuple[str, str], np.ndarray]:
    """Return the scores of every model and arm, `(n_seeds, n_users)`, by the same seeds."""
    found = {}
    n_seeds = users.group_by("model", "arm").agg(pl.col("seed").n_unique())["seed"].min()
    for (model, arm), own in users.filter(pl.col("seed") < n_seeds).group_by("model", "arm"):
        scores = own.sort("seed", "user")[metric].to_numpy().astype(np.float64)
        found[str(model), str(arm)] = scores.reshape(n_seeds, -1)
    return found


def compare_arms(data: str, users: pl.DataFrame) -> list[Row]:
    """Compare the arms of one data set, by model and over its models."""
    rows = []
    for metric in METRICS:
        scores = stack_scores(users, metric)
        models = sorted({model for model, _ in scores})
        for arm in {name for pair in CLAIMS for name in pair}:
            own = [scores[model, arm] for model in models if (model, arm) in scores]
            if len(own) == len(models):
                scores[ALL, arm] = np.mean(own, axis=0)
        columns = {key: at for at, key in enumerate(scores)}
        pairs = [
            (model, arm, against)
            for arm, against in CLAIMS
            for model in (*models, ALL)
            if (model, arm) in columns and (model, against) in columns
        ]
        found = bootstrap_lifts(
            np.stack(list(scores.values()), axis=-1),
            [(columns[model, arm], columns[model, against]) for model, arm, against in pairs],
        )
        for (model, arm, against), of in zip(pairs, found, strict=True):
            row = {"data": data, "model": model, "arm": arm, "against": against, "metric": metric}
            row |= {"n_data": 1, "n_models": len(models) if model == ALL else 1}
            row |= {"n_seeds": len(next(iter(scores.values())))}
            rows.append(row | {name: getattr(of, name) for name in _STATISTICS})
    set_adjusted(rows)
    return rows


_STATISTICS = ("lift", "low", "high", "p_value")


def set_adjusted(rows: list[Row]) -> None:
    """Set `p_holm`, adjusted over the models of a data set and claim; rows `all` stand alone."""
    families: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alone = (ALL,) if row["model"] == ALL else ()
        key = (row["data"], row["arm"], row["against"], row["metric"], *alone)
        families.setdefault(key, []).append(row)
    for family in families.values():
        adjusted = adjust_p_values([row["p_value"] for row in family])
        for row, p in zip(family, adjusted, strict=True):
            row["p_holm"] = p


def average_data_sets(rows: Sequence[Row]) -> list[Row]:
    """Average every model's rows over the data sets by random effects."""
    of_model: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        of_model.setdefault(tuple(row[name] for name in _CLAIM), []).append(row)
    means = []
    for claim, own in of_model.items():
        if len(own) < _LEAST_DATA_SETS:
            continue
        effects = np.log1p([row["lift"] for row in own])
        widths = np.log1p([[row["low"], row["high"]] for row in own]) @ (-1, 1)
        variances = (widths / (2 * _NORMAL)) ** 2
        # Its DerSimonian and Laird, "dl", takes negative variances between data sets.
        mean = combine_effects(effects, variances, method_re="iterated", use_t=True)
        _, plain, _, scaled = mean.conf_int()
        low, high = max(plain, scaled, key=np.ptp)
        interval = {"lift": mean.mean_effect_re, "low": low, "high": high}
        row = {"data": ALL, **dict(zip(_CLAIM, claim, strict=True)), "n_data": len(own)}
        row |= {name: own[0][name] for name in ("n_models", "n_seeds")}
        means.append(row | {name: float(np.expm1(of)) for name, of in interval.items()})
    return means


_CLAIM = ("model", "arm", "against", "metric")


def combine(users: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Compare the arms of every data set and over all of them."""
    rows = [row for data, scores in users.items() for row in compare_arms(data, scores)]
    common = set.intersection(*(set(scores["model"]) for scores in users.values()))
    shared = [row for row in rows if row["model"] in common]
    if common:
        for data, scores in users.items():
            own = compare_arms(data, scores.filter(pl.col("model").is_in(common)))
            shared += [row for row in own if row["model"] == ALL]
    return pl.DataFrame(rows + average_data_sets(shared), infer_schema_length=None)


def read_scores(folder: Path) -> dict[str, pl.DataFrame]:
    """Read the scores of the users of every data set, of all its models."""
    found: dict[str, list[pl.DataFrame]] = {}
    for path in sorted(folder.glob("*/*/users.parquet")):
        names = pl.col("model", "arm").cast(pl.String)
        found.setdefault(path.parts[-3], []).append(pl.read_parquet(path).with_columns(names))
    return {data: pl.concat(models) for data, models in found.items()}


def main() -> None:
    """Write the table of the first folder that is named."""
    folder, *others = map(Path, sys.argv[1:])
    users = read_scores(folder)
    shown = [*users, ALL]
    for other in others:
        users |= read_scores(other)
    combine(users).filter(pl.col("data").is_in(shown)).write_csv(folder / "lifts.csv")


if __name__ == "__main__":
    main()
