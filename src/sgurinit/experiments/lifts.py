"""Tables of lifts, p-values and epochs, from the summary of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from sgurinit.arms import BASELINE

HEADLINE_METRIC = "recall@20"
Entry = Mapping[str, Any]

_COMPARED = ("mean", "sd", "lift", "mean_difference", "p_value", "p_holm", "n_users")
_PER_SEED = {
    "best_epochs": "best_epoch",
    "epochs": "epochs",
    "seconds": "seconds",
    "epochs_to_random_best": "epochs_to_random_best",
    "ratio_to_random_epochs": "ratio_to_random_epochs",
    "seconds_to_random_best": "seconds_to_random_best",
}


def lifts_table(entries: Sequence[Entry]) -> pl.DataFrame:
    """Test scores over the seeds and what sets them apart from random and from the other arms.

    Columns: model, arm, against, group, metric, k, mean, sd, lift, mean_difference, p_value, p_holm
    and n_users; empty where something is not known. Mean and sd stand in the first row of a score,
    the one against random where there is such an arm.
    """
    return pl.DataFrame(list(_lifts(entries)), infer_schema_length=None)


def _lifts(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        by_group = {"all": entry["test"], **entry.get("groups", {})}
        compared = [(BASELINE, group, scores) for group, scores in by_group.items()]
        compared += [(other, "all", scores) for other, scores in entry.get("against", {}).items()]
        for against, group, metrics in compared:
            for name, found in metrics.items():
                metric, _, k = name.partition("@")
                yield {
                    "model": entry["model"],
                    "arm": entry["arm"],
                    "against": against if "lift" in found and against != entry["arm"] else None,
                    "group": group,
                    "metric": metric,
                    "k": int(k),
                } | {column: found.get(column) for column in _COMPARED}


def epochs_table(entries: Sequence[Entry]) -> pl.DataFrame:
    """How long every run took.

    Columns: model, arm, seed, best_epoch (from 0, as in the curves), epochs, seconds,
    epochs_to_random_best, ratio_to_random_epochs, seconds_to_random_best; empty where a run never
    got there, or there is no random arm.
    """
    rows = [
        {"model": entry["model"], "arm": entry["arm"], "seed": seed}
        | {column: _at(entry.get(field), seed) for field, column in _PER_SEED.items()}
        for entry in entries
        for seed in range(len(entry["epochs"]))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _at(values: Sequence[Any] | None, seed: int) -> Any:
    return None if values is None else values[seed]
