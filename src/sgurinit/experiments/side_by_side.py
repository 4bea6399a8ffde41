"""Two finished comparisons side by side: changes of scores, their tests, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sgurinit.evaluation import adjust_p_values, paired_test
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.summary import GROUP_METRICS
from sgurinit.experiments.user_scores import read_mean_scores

FolderPair = tuple[ComparisonFolder, ComparisonFolder]
ChangeRow = dict[str, Any]

_COMPARED_PARTS = ("data", "settings", "chosen", "environment")
# These usually differ but do not explain different scores.
_IGNORED_FIELDS = ("data.source", "environment.platform")


def change_rows(pair: FolderPair) -> list[ChangeRow]:
    """Compare the test scores of every model and arm that is in either comparison.

    Parameters
    ----------
    pair : tuple of two ComparisonFolder
        The first and the second comparison.

    Returns
    -------
    list of dict
        By metric, model and arm: mean and standard deviation in both, the relative change from the
        first to the second and, if both tested the same users, ``p_value`` of a paired t-test over
        the users on scores averaged over the seeds, and ``p_holm``, adjusted for all rows of the
        metric. Unknown values are None.
    """
    return [row for metric in GROUP_METRICS for row in _adjust(_metric_rows(pair, metric))]


def _metric_rows(pair: FolderPair, metric: str) -> list[ChangeRow]:
    entries = [{(e["model"], e["arm"]): e["test"][metric] for e in found.entries} for found in pair]
    rows = []
    keys = list(dict.fromkeys([*entries[0], *entries[1]]))
    models = list(dict.fromkeys(model for model, _ in keys))
    for model, arm in sorted(keys, key=lambda key: models.index(key[0])):
        first, second = (own.get((model, arm)) for own in entries)
        row: ChangeRow = {"model": model, "arm": arm, "metric": metric}
        for name, found in (("first", first), ("second", second)):
            row[f"{name}_mean"] = found and found["mean"]
            row[f"{name}_sd"] = found and found["sd"]
        row["change"] = row["p_value"] = None
        if first and second:
            row["change"] = second["mean"] / first["mean"] - 1 if first["mean"] else None
            row["p_value"] = _p_value(pair, model, arm, metric)
        rows.append(row)
    return rows


def _adjust(rows: list[ChangeRow]) -> list[ChangeRow]:
    known = [row for row in rows if row["p_value"] is not None]
    adjusted = dict(
        zip(map(id, known), adjust_p_values([row["p_value"] for row in known]), strict=True)
    )
    return [{**row, "p_holm": adjusted.get(id(row))} for row in rows]


def _p_value(pair: FolderPair, model: str, arm: str, metric: str) -> float | None:
    """Test the difference over users; None if the two did not test the same users."""
    first, second = (read_mean_scores(found.run_folders(model, arm), metric) for found in pair)
    if first is None or second is None or not first["user_id"].equals(second["user_id"]):
        return None
    p = paired_test(second["score"].to_numpy(), first["score"].to_numpy()).p_value
    return None if np.isnan(p) else p


def differing_fields(pair: FolderPair) -> list[tuple[str, Any, Any]]:
    """List the settings, facts about the data and versions in which the two differ.

    Returns
    -------
    list of tuple
        Path of the field, such as ``"settings.train.max_epochs"``, and its two values. A value that
        is missing in one of them is None. If a whole group of fields is missing in one of them, it
        is listed once.
    """
    first, second = ({part: found.summary.get(part) for part in _COMPARED_PARTS} for found in pair)
    return [found for found in _differences(first, second) if found[0] not in _IGNORED_FIELDS]


def _differences(first: Any, second: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            path = f"{prefix}.{key}" if prefix else str(key)
            yield from _differences(first.get(key), second.get(key), path)
    elif first != second:
        yield prefix, first, second
