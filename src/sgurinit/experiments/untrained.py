"""Test scores that need no training: popularity, the starts themselves, and planted data's ceiling.

They tell how much of a trained score training has brought.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from sgurinit.arms import Initializer, SGURInitInitializer
from sgurinit.data import Dataset, plant
from sgurinit.evaluation import FullRanking
from sgurinit.experiments.start_tables import SEED, WIDTH

POPULARITY = "popularity"
CEILING = "ceiling"
Scorer = Callable[[Tensor], Tensor]


def untrained_scores(
    arms: Mapping[str, Initializer],
    dataset: Dataset,
    source: str | Path | None,
    *,
    mask_valid: bool,
) -> list[dict[str, Any]]:
    """Score what is there before training on the test split.

    Parameters
    ----------
    arms : mapping of str to Initializer
        Arms by name. Those that compute a start are scored by the dot products of users and items
        in its joint space of width 64, with seed 0.
    dataset : Dataset
        The data.
    source : str, Path or None
        The path or name that they were loaded by; planted data have a known ceiling.
    mask_valid : bool
        Leave validation items out of the test ranking.

    Returns
    -------
    list of dict
        ``name`` (``"popularity"``, an arm's, or ``"ceiling"``) and ``test``, the mean of each
        metric over the users, as in a comparison's summary.
    """
    ranking = FullRanking(dataset, "test", mask_valid=mask_valid)
    scorers: dict[str, Scorer] = {POPULARITY: _popularity(dataset)}
    scorers |= {
        name: _start(arm, dataset)
        for name, arm in arms.items()
        if isinstance(arm, SGURInitInitializer)
    }
    if source == "planted":
        scorers[CEILING] = lambda users: torch.from_numpy(plant().scores(users.numpy())).float()
    return [
        {
            "name": name,
            "test": {
                metric: {"mean": float(values.mean()), "sd": None}
                for metric, values in ranking.evaluate(score).items()
            },
        }
        for name, score in scorers.items()
    ]


def untrained_table(entries: list[dict[str, Any]]) -> pl.DataFrame:
    """Return the entries of `untrained_scores` as a table: name, metric, k, value."""
    rows = [
        {"name": entry["name"], "metric": metric, "k": int(k), "value": score["mean"]}
        for entry in entries
        for name, score in entry["test"].items()
        for metric, _, k in [name.partition("@")]
    ]
    return pl.DataFrame(rows)


def _popularity(dataset: Dataset) -> Scorer:
    counts = torch.from_numpy(dataset.popularity()).float()
    return lambda users: counts.expand(len(users), -1)


def _start(arm: SGURInitInitializer, dataset: Dataset) -> Scorer:
    joint = arm.compute_start(dataset, SEED).joint(WIDTH)
    users, items = torch.from_numpy(joint.users), torch.from_numpy(joint.items)
    return lambda wanted: users[wanted] @ items.T
