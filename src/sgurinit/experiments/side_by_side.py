"""Two finished comparisons side by side: changes of scores, their tests, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from sgurinit.evaluation import adjust_p_values, bootstrap_lifts
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.summary import GROUP_METRICS
from sgurinit.experiments.user_scores import read_user_scores

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
        By metric, model and arm: mean and standard deviation in both, the relative ``change`` from
        the first to the second and, if both tested the same users with equally many seeds, ``low``
        and ``high`` (its 95 % interval over users and seeds), ``p_value`` and ``p_holm``, adjusted
        for all rows of the metric. Unknown values are None, see also `bootstrap_lifts`.
    """
    rows = [row for metric in GROUP_METRICS for row in _metric_rows(pair, metric)]
    _set_intervals(rows, pair)
    for metric in GROUP_METRICS:
        known = [row for row in rows if row["metric"] == metric and row["p_value"] is not None]
        for row, p in zip(known, adjust_p_values([row["p_value"] for row in known]), strict=True):
            row["p_holm"] = p
    return rows


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
        row |= dict.fromkeys(("change", "low", "high", "p_value", "p_holm"))
        if first and second:
            row["change"] = second["mean"] / first["mean"] - 1 if first["mean"] else None
        rows.append(row)
    return rows


def _set_intervals(rows: Sequence[ChangeRow], pair: FolderPair) -> None:
    """Set the intervals and p-values of rows whose users and number of seeds are the same."""
    if pair[0].settings.seeds != pair[1].settings.seeds:
        return
    columns: list[np.ndarray[Any, Any]] = []
    tested = []
    users: pl.Series | None = None
    for row in rows:
        first, second = (
            read_user_scores(found.run_folders(row["model"], row["arm"])) for found in pair
        )
        if first is None or second is None:
            continue
        users = first[0]["user_id"] if users is None else users
        if len(users) < 2 or not all(users.equals(part["user_id"]) for part in [*first, *second]):
            continue
        tested.append(row)
        columns += [
            np.stack([part[row["metric"]].to_numpy() for part in own]) for own in (first, second)
        ]
    if not tested:
        return
    pairs = [(2 * at + 1, 2 * at) for at in range(len(tested))]
    for row, found in zip(tested, bootstrap_lifts(np.stack(columns, axis=-1), pairs), strict=True):
        row |= {"low": found.low, "high": found.high, "p_value": found.p_value}


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
