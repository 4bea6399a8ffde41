"""The tables of a comparison, from its finished runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import polars as pl

from sgurinit.evaluation import paired_test
from sgurinit.experiments.run import METRIC_NAMES, RESULT
from sgurinit.experiments.settings import ComparisonSettings, RunSettings
from sgurinit.files import read_json

BASELINE = "random"


def results_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Every metric of every run, one number a row.

    Columns: model, arm, seed, split (valid, test), group (all), metric, k, value. Validation is
    that of the run's best epoch.
    """
    rows = []
    for run in runs:
        result = read_json(folder / run.label / RESULT)
        for split in ("valid", "test"):
            for name in METRIC_NAMES:
                metric, _, k = name.partition("@")
                value = result[split][name]
                rows.append((run.model, run.arm, run.seed, split, "all", metric, int(k), value))
    columns = ["model", "arm", "seed", "split", "group", "metric", "k", "value"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def curves_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Every epoch of every run: model, arm, seed, epoch, train_loss and the validation metrics."""
    tables = []
    for run in runs:
        epochs = pl.read_csv(folder / run.label / "epochs.csv")
        key = [pl.lit(v).alias(n) for n, v in (("model", run.model), ("arm", run.arm))]
        seed = pl.lit(run.seed, dtype=pl.Int64).alias("seed")
        columns = ["epoch", "train_loss", *METRIC_NAMES]
        tables.append(epochs.select(*key, seed, *columns).cast({"epoch": pl.Int64}))
    return pl.concat(tables)


def summarise(settings: ComparisonSettings, folder: Path) -> list[dict[str, Any]]:
    """One entry per model and arm, ready for JSON.

    ``test[metric]`` holds mean, sd (over seeds, n - 1; null for one seed), per_seed and, against
    the ``random`` arm where there is one: lift (relative, null where random scores 0),
    mean_difference, p_value (paired t-test over users on scores averaged over the seeds) and
    n_users. ``best_epochs`` are numbers as in the curves, from 0; ``epochs`` and
    ``epochs_to_random_best`` are counts. The latter is how many it took, seed by seed, until the
    monitored validation metric reached the random arm's best of the same seed, null where it never
    did, and ``ratio_to_random_epochs`` divides that by random's own count.
    """
    runs: dict[tuple[str, str], list[RunSettings]] = {}
    for run in settings.runs():
        runs.setdefault((run.model, run.arm), []).append(run)
    entries = []
    for (model, arm), own in runs.items():
        base = runs.get((model, BASELINE))
        results = [read_json(folder / run.label / RESULT) for run in own]
        entries.append(
            {
                "model": model,
                "arm": arm,
                "test": _test_metrics(own, base, folder),
                "best_epochs": [result["best_epoch"] for result in results],
                "epochs": [result["epochs"] for result in results],
                "seconds": [result["seconds"] for result in results],
                **_convergence(own, base, folder, settings.train.monitor),
            }
        )
    return entries


def _test_metrics(
    own: Sequence[RunSettings], base: Sequence[RunSettings] | None, folder: Path
) -> dict[str, Any]:
    users, base_users = _user_scores(own, folder), base and _user_scores(base, folder)
    results = [read_json(folder / run.label / RESULT)["test"] for run in own]
    metrics: dict[str, Any] = {}
    for name in METRIC_NAMES:
        values = [result[name] for result in results]
        entry: dict[str, Any] = {
            "mean": fmean(values),
            "sd": stdev(values) if len(values) > 1 else None,
            "per_seed": values,
        }
        if base_users:
            reference = float(base_users[name].mean())
            test = paired_test(users[name], base_users[name])
            entry["lift"] = test.mean_difference / reference if reference else None
            entry["mean_difference"] = test.mean_difference
            entry["p_value"] = None if math.isnan(test.p_value) else test.p_value
            entry["n_users"] = test.n
        metrics[name] = entry
    return metrics


def _user_scores(runs: Sequence[RunSettings], folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Per-user test scores averaged over the seeds, ``(n_users,)`` by metric."""
    tables = [pl.read_parquet(folder / run.label / "users.parquet") for run in runs]
    return {name: np.mean([table[name].to_numpy() for table in tables], 0) for name in METRIC_NAMES}


def _convergence(
    own: Sequence[RunSettings], base: Sequence[RunSettings] | None, folder: Path, monitor: str
) -> dict[str, Any]:
    if base is None:
        return {}
    needed: list[int | None] = []
    ratios: list[float | None] = []
    for run, reference in zip(own, base, strict=True):
        random = pl.read_csv(folder / reference.label / "epochs.csv")[monitor]
        mine = pl.read_csv(folder / run.label / "epochs.csv")[monitor]
        target = random.max()
        epochs = _first(mine >= target)
        own_epochs = _first(random >= target)
        needed.append(epochs)
        ratios.append(epochs / own_epochs if epochs and own_epochs else None)
    return {"epochs_to_random_best": needed, "ratio_to_random_epochs": ratios}


def _first(reached: pl.Series) -> int | None:
    """Count of epochs up to the first that reached the goal, None if none did."""
    at = reached.arg_true()
    return int(at[0]) + 1 if len(at) else None
