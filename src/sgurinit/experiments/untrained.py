"""Test scores without training: popularity, the starts themselves, and the ceiling of planted data.

They show how much of a model's score is due to training.
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
from sgurinit.experiments.semantic_gap import SHOWN_SEED
from sgurinit.experiments.start_tables import JOINT_WIDTH

POPULARITY = "popularity"
CEILING = "ceiling"
_Scorer = Callable[[Tensor], Tensor]


def score_untrained(
    arms: Mapping[str, Initializer],
    dataset: Dataset,
    source: str | Path | None,
    *,
    mask_valid: bool,
) -> list[dict[str, Any]]:
    """Compute test scores that need no training.

    Parameters
    ----------
    arms : mapping of str to Initializer
        Arms by name. An arm that computes a start is scored by the dot products of users and items
        in the start's joint space of 64 columns, with seed 0.
    dataset : Dataset
        The data.
    source : str, Path or None
        Path or name that the data were loaded from. Planted data have a known ceiling.
    mask_valid : bool
        Exclude validation items from the test ranking.

    Returns
    -------
    list of dict
        ``name`` (``"popularity"``, the name of an arm, or ``"ceiling"``) and ``test``, the mean of
        each metric over the users, in the form of `summarize_runs`.
    """
    ranking = FullRanking(dataset, "test", mask_valid=mask_valid)
    scorers: dict[str, _Scorer] = {POPULARITY: _popularity_scorer(dataset)}
    scorers |= {
        name: _start_scorer(arm, dataset)
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
    """Arrange the entries of `score_untrained` as a table: name, metric, k, value."""
    rows = [
        {"name": entry["name"], "metric": metric, "k": int(k), "value": score["mean"]}
        for entry in entries
        for name, score in entry["test"].items()
        for metric, _, k in [name.partition("@")]
    ]
    return pl.DataFrame(rows)


def _popularity_scorer(dataset: Dataset) -> _Scorer:
    counts = torch.from_numpy(dataset.popularity()).float()
    return lambda users: counts.expand(len(users), -1)


def _start_scorer(arm: SGURInitInitializer, dataset: Dataset) -> _Scorer:
    joint = arm.compute_start(dataset, SHOWN_SEED).joint(JOINT_WIDTH)
    users, items = torch.from_numpy(joint.users), torch.from_numpy(joint.items)
    return lambda rows: users[rows] @ items.T
