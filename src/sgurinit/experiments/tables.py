"""The tables of a comparison, from its finished runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import polars as pl

from sgurinit.arms import BASELINE
from sgurinit.evaluation import holm, paired_test, user_groups
from sgurinit.experiments.run import METRIC_NAMES, RESULT
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.sweeps import find_sweeps
from sgurinit.files import read_json

ALL = "all"
GROUP_METRICS = ("recall@20", "ndcg@20")

Scores = Mapping[str, np.ndarray[Any, Any]]


def results_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Every metric of every run, one number a row.

    Columns: model, arm, seed, split (valid, test), group, metric, k, value. Validation is that of
    the run's best epoch. Besides ``"all"`` users there are, for the test split, groups of users by
    their number of training interactions, and scores for the items of one kind (see
    `item_groups`).
    """
    rows = []
    for run in runs:
        result = read_json(folder / run.label / RESULT)
        groups = {
            name: {metric: float(values.mean()) for metric, values in scores.items()}
            for name, scores in _scores_by_group(folder / run.label)
        }
        for split, by_group in (("valid", {ALL: result["valid"]}), ("test", groups)):
            for group, values in by_group.items():
                for name in METRIC_NAMES:
                    metric, _, k = name.partition("@")
                    value = values[name]
                    rows.append((run.model, run.arm, run.seed, split, group, metric, int(k), value))
    columns = ["model", "arm", "seed", "split", "group", "metric", "k", "value"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def _scores_by_group(folder: Path) -> Iterator[tuple[str, Scores]]:
    """Per-user test scores of a run, ``(n,)`` by metric: of all users, then of each group."""
    users = pl.read_parquet(folder / "users.parquet")
    yield ALL, _columns(users)
    for name, members in user_groups(users["n_train"].to_numpy()).items():
        yield name, _columns(users.filter(members))
    for (name,), part in pl.read_parquet(folder / "groups.parquet").group_by(
        "group", maintain_order=True
    ):
        yield str(name), _columns(part)


def _columns(table: pl.DataFrame) -> Scores:
    return {name: table[name].to_numpy() for name in METRIC_NAMES}


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


def summarise(runs: Sequence[RunSettings], folder: Path) -> list[dict[str, Any]]:
    """One entry per model and arm, ready for JSON.

    ``test[metric]`` holds mean, sd (over seeds, n - 1; null for one seed), per_seed and, against
    the ``random`` arm where there is one: lift (relative, null where random scores 0),
    mean_difference, p_value (paired t-test over users on scores averaged over the seeds), p_holm
    (that of all models with the same arm, adjusted for being several) and n_users. ``groups`` holds
    the same for Recall@20 and NDCG@20 of each group of users and items, each group by itself, and
    ``against`` all but mean and sd for the same two metrics against each other arm of the model
    (cells of a sweep over two fields left out: of fifty arms there are a thousand pairs).
    ``best_epochs`` are numbers as in the curves, from 0; ``epochs`` and ``epochs_to_random_best``
    are counts. The latter is how many it took, seed by seed, until the monitored validation metric
    reached the random arm's best of the same seed, null where it never did;
    ``ratio_to_random_epochs`` divides that by random's own count, and ``seconds_to_random_best`` is
    the time that it took.
    """
    by_arm: dict[tuple[str, str], list[RunSettings]] = {}
    for run in runs:
        by_arm.setdefault((run.model, run.arm), []).append(run)
    tables = {
        pair: [dict(_scores_by_group(folder / run.label)) for run in own]
        for pair, own in by_arm.items()
    }
    sweeps = find_sweeps(list(dict.fromkeys(arm for _, arm in by_arm)))
    cells = {arm for sweep in sweeps for arm in sweep.arms.values()}
    entries = []
    for (model, arm), own in by_arm.items():
        results = [read_json(folder / run.label / RESULT) for run in own]
        base = (model, BASELINE) if (model, BASELINE) in by_arm else None
        mine = tables[model, arm]
        by_group = _by_group(mine, tables[base] if base else None)
        test = by_group.pop(ALL)
        entry = {
            "model": model,
            "arm": arm,
            "test": test,
            "groups": {
                group: {name: found[name] for name in GROUP_METRICS}
                for group, found in by_group.items()
            },
            "against": {
                other: {
                    name: _set_apart(_seeds(mine, ALL, name), _seeds(theirs, ALL, name))
                    for name in GROUP_METRICS
                }
                for (at, other), theirs in tables.items()
                if at == model and other not in (arm, BASELINE) and not {arm, other} & cells
            },
            "best_epochs": [result["best_epoch"] for result in results],
            "epochs": [result["epochs"] for result in results],
            "seconds": [result["seconds"] for result in results],
        }
        entries.append(entry | (_convergence(own, by_arm[base], folder) if base else {}))
    adjust(entries)
    return entries


def _by_group(
    own: Sequence[Mapping[str, Scores]], base: Sequence[Mapping[str, Scores]] | None
) -> dict[str, dict[str, Any]]:
    """Compare each group's scores, given per seed, with those of `base`."""
    return {
        group: {
            name: _compared(
                _seeds(own, group, name), None if base is None else _seeds(base, group, name)
            )
            for name in METRIC_NAMES
        }
        for group in own[0]
    }


def _seeds(
    arm: Sequence[Mapping[str, Scores]], group: str, name: str
) -> list[np.ndarray[Any, Any]]:
    """One metric of a group's users, an array per seed."""
    return [scores[group][name] for scores in arm]


def _compared(
    own: Sequence[np.ndarray[Any, Any]], base: Sequence[np.ndarray[Any, Any]] | None
) -> dict[str, Any]:
    """Mean and spread over seeds and, where there is a `base`, what sets it apart from that."""
    per_seed = [float(scores.mean()) for scores in own]
    entry: dict[str, Any] = {
        "mean": fmean(per_seed),
        "sd": stdev(per_seed) if len(per_seed) > 1 else None,
        "per_seed": per_seed,
    }
    return entry if base is None else entry | _set_apart(own, base)


def _set_apart(
    own: Sequence[np.ndarray[Any, Any]], base: Sequence[np.ndarray[Any, Any]]
) -> dict[str, Any]:
    """Gain over `base`, and the paired test of it, on scores averaged over the seeds."""
    reference = np.mean(base, axis=0)
    test = paired_test(np.mean(own, axis=0), reference)
    return {
        "lift": float(test.mean_difference / reference.mean()) if reference.any() else None,
        "mean_difference": test.mean_difference,
        "p_value": None if math.isnan(test.p_value) else test.p_value,
        "n_users": test.n,
    }


def adjust(entries: Sequence[Mapping[str, Any]]) -> None:
    """Set ``p_holm`` of every test score and comparison: over the models of an arm.

    Parameters
    ----------
    entries
        As `summarise` gives them; those of several studies may stand together.
    """
    several: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in entries:
        compared = {(BASELINE, ALL): entry["test"]}
        compared |= {(BASELINE, name): group for name, group in entry.get("groups", {}).items()}
        compared |= {(other, ALL): scores for other, scores in entry.get("against", {}).items()}
        for of, scores in compared.items():
            for name, score in scores.items():
                if score.get("p_value") is not None:
                    several.setdefault((entry["arm"], *of, name), []).append(score)
    for scores in several.values():
        adjusted = holm([score["p_value"] for score in scores])
        for score, p in zip(scores, adjusted, strict=True):
            score["p_holm"] = p


def _convergence(
    own: Sequence[RunSettings], base: Sequence[RunSettings], folder: Path
) -> dict[str, Any]:
    needed: list[int | None] = []
    ratios: list[float | None] = []
    seconds: list[float | None] = []
    for run, reference in zip(own, base, strict=True):
        random = pl.read_csv(folder / reference.label / "epochs.csv")[run.train.monitor]
        mine = pl.read_csv(folder / run.label / "epochs.csv")
        epochs = _first(mine[run.train.monitor] >= random.max())
        own_epochs = _first(random >= random.max())
        needed.append(epochs)
        ratios.append(epochs / own_epochs if epochs and own_epochs else None)
        seconds.append(float(mine["seconds"][:epochs].sum()) if epochs else None)
    return {
        "epochs_to_random_best": needed,
        "ratio_to_random_epochs": ratios,
        "seconds_to_random_best": seconds,
    }


def _first(reached: pl.Series) -> int | None:
    """Count of epochs up to the first that reached the goal, None if none did."""
    at = reached.arg_true()
    return int(at[0]) + 1 if len(at) else None
