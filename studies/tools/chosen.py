"""Settings that the arms of the main study chose, used on other data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sgurinit import compare, train
from sgurinit.data import Dataset
from sgurinit.experiments import Comparison
from sgurinit.resolve import resolve_initializer
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings


def read_chosen(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what each arm chose: `config` of the model and `initializer`, whose `kind` is a name.

    Parameters
    ----------
    folder : Path
        Folder of a data set and model in the main study. Its name is the model's.
    """
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    return summary["chosen"][folder.name]


def fields_of(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a chosen initializer, without its kind."""
    return {name: value for name, value in chosen["initializer"].items() if name != "kind"}


def train_chosen(
    dataset: Dataset,
    model: str,
    arm: str,
    chosen: Mapping[str, Any],
    seeds: int,
    *,
    out: Path,
    jobs: int,
) -> Comparison:
    """Train and test one model from one arm with what it chose, in its own folder under `out`."""
    return compare(
        dataset,
        [model],
        [arm],
        seeds,
        out=out / model / arm,
        overrides={model: chosen["config"], arm: fields_of(chosen)},
        jobs=jobs,
    )


def validate_chosen(
    path: Path,
    model: str,
    arm: str,
    chosen: Mapping[str, Any],
    *,
    seed: int,
    settings: TrainSettings | None = None,
) -> list[float]:
    """Train as `train_chosen` on one thread; return validation Recall@20 by epoch, without test."""
    torch.set_num_threads(1)
    keep_freed_memory()
    initializer = resolve_initializer(arm, fields_of(chosen))
    found = train(path, model, initializer, config=chosen["config"], settings=settings, seed=seed)
    return [row["recall@20"] for row in found.history]
