"""The tables of a comparison: results, learning curves, lifts and epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.arms import BASELINE
from sgurinit.experiments.run import METRIC_NAMES, RESULT_FILE
from sgurinit.experiments.run_tables import read_run_table
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.summary import SummaryEntry
from sgurinit.experiments.user_scores import ALL, read_scores_by_group
from sgurinit.files import read_json

_COMPARISON_COLUMNS = (
    *("mean", "sd", "lift", "low", "high", "mean_difference", "difference_low", "difference_high"),
    *("p_value", "p_holm", "n_users"),
)
_SEED_COLUMNS = {  # column by the field of a summary entry
    "best_epochs": "best_epoch",
    "epochs": "epochs",
    "seconds": "seconds",
    "start_share": "start_share",
    "epochs_to_99_percent": "epochs_to_99_percent",
    "seconds_to_99_percent": "seconds_to_99_percent",
}


def results_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Collect every metric of every run, one value per row.

    Parameters
    ----------
    runs : sequence of RunSettings
        Finished runs.
    folder : Path
        Folder that contains the folders of the runs.

    Returns
    -------
    DataFrame
        Columns model, arm, seed, split, group, metric, k and value. Validation scores are those of
        the run's best epoch, for the group ``"all"``. Test scores are also given for groups of
        users and items, see `read_scores_by_group`.
    """
    rows = []
    for run in runs:
        result = read_json(folder / run.label / RESULT_FILE)
        groups = {
            name: {metric: float(values.mean()) for metric, values in scores.items()}
            for name, scores in read_scores_by_group(folder / run.label)
        }
        for split, by_group in (("valid", {ALL: result["valid"]}), ("test", groups)):
            for group, values in by_group.items():
                for name in METRIC_NAMES:
                    metric, _, k = name.partition("@")
                    value = values[name]
                    rows.append((run.model, run.arm, run.seed, split, group, metric, int(k), value))
    columns = ["model", "arm", "seed", "split", "group", "metric", "k", "value"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def curves_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Collect the learning curve of every run, the start and then one epoch per row.

    Parameters
    ----------
    runs : sequence of RunSettings
        Finished runs.
    folder : Path
        Folder that contains the folders of the runs.

    Returns
    -------
    DataFrame
        Columns model, arm, seed, epoch (how many are completed; 0 is the start), train_loss (null
        for the start) and the validation metrics.
    """
    tables = []
    for run in runs:
        path = folder / run.label / "epochs.csv"
        epochs = read_run_table(path, ["epoch", *METRIC_NAMES], with_nulls=["train_loss"])
        key = [pl.lit(v).alias(n) for n, v in (("model", run.model), ("arm", run.arm))]
        seed = pl.lit(run.seed, dtype=pl.Int64).alias("seed")
        columns = ["epoch", "train_loss", *METRIC_NAMES]
        numbers = epochs.select(pl.col(columns).cast(pl.Float64)).cast({"epoch": pl.Int64})
        tables.append(numbers.select(*key, seed, *columns))
    return pl.concat(tables)


def lifts_table(entries: Sequence[SummaryEntry]) -> pl.DataFrame:
    """List the test scores and their comparison with the random arm and with the other arms.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of `summarize_runs`.

    Returns
    -------
    DataFrame
        Columns model, arm, against, group, metric, k, mean, sd, lift, low, high, mean_difference,
        difference_low, difference_high, p_value, p_holm and n_users. Unknown values are null. Mean
        and sd are given in the first row of a score, which compares with the random arm if there is
        one.
    """
    return pl.DataFrame(list(_lift_rows(entries)), infer_schema_length=None)


def _lift_rows(entries: Sequence[SummaryEntry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        by_group = {ALL: entry["test"], **entry.get("groups", {})}
        compared = [(BASELINE, group, scores) for group, scores in by_group.items()]
        compared += [(other, ALL, scores) for other, scores in entry.get("against", {}).items()]
        for against, group, metrics in compared:
            for name, found in metrics.items():
                metric, _, k = name.partition("@")
                yield {
                    "model": entry["model"],
                    "arm": entry["arm"],
                    "against": against if "lift" in found else None,
                    "group": group,
                    "metric": metric,
                    "k": int(k),
                } | {column: found.get(column) for column in _COMPARISON_COLUMNS}


def epochs_table(entries: Sequence[SummaryEntry]) -> pl.DataFrame:
    """List how many epochs and seconds every run took.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of `summarize_runs`.

    Returns
    -------
    DataFrame
        Columns model, arm, seed, best_epoch (0 is the start, as in the curves), epochs, seconds,
        start_share, epochs_to_99_percent and seconds_to_99_percent, see `summarize_runs`. The last
        three are null without a random arm, and the last two if a run never got there.
    """
    rows = [
        {"model": entry["model"], "arm": entry["arm"], "seed": seed}
        | {column: _value_of(entry.get(field), seed) for field, column in _SEED_COLUMNS.items()}
        for entry in entries
        for seed in range(len(entry["epochs"]))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _value_of(values: Sequence[Any] | None, seed: int) -> Any:
    return None if values is None else values[seed]


def mean_curve(curves: pl.DataFrame, metric: str) -> list[float]:
    """Average the learning curves of one model and arm over the seeds.

    The mean ends where the first seed stops, because later epochs would average fewer seeds.

    Parameters
    ----------
    curves : DataFrame
        Rows of one model and arm: seed, epoch and the metric.
    metric : str
        Name of the metric.
    """
    seeds = curves_by_seed(curves, metric)
    length = min(map(len, seeds))
    columns = {str(at): scores.head(length) for at, scores in enumerate(seeds)}
    return pl.DataFrame(columns).mean_horizontal().to_list()


def curves_by_seed(curves: pl.DataFrame, metric: str) -> list[pl.Series]:
    """Split the learning curves of one model and arm by seed, in the order of the epochs."""
    return [part.sort("epoch")[metric] for _, part in sorted(curves.group_by("seed"))]
