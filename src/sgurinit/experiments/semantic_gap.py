"""How far users are from items in every model's own vectors, before training and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch

from sgurinit.core.semantic_gap import gap
from sgurinit.data import Dataset
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.sweeps import without_cells
from sgurinit.files import read_json
from sgurinit.models import Recommender

SEED = 0
GAP = "gap.json"


@torch.no_grad()
def measure_gap(model: Recommender, dataset: Dataset) -> dict[str, Any]:
    """Semantic gap between the vectors whose product is a model's score, see `Gap`."""
    users, items = model.embed()
    return asdict(gap(dataset.train_matrix(), items.cpu().numpy(), users.cpu().numpy(), SEED))


def gaps_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Semantic gap of every model and arm with seed 0, as started and as trained.

    The runs measured it. The cells of a sweep are left out.

    Parameters
    ----------
    runs
        Finished runs.
    folder
        Where their folders are.

    Returns
    -------
    DataFrame
        model, arm, stage (start, trained), measure, value; see `Gap` for the measures.
    """
    shown = {entry["arm"] for entry in without_cells([{"arm": run.arm} for run in runs])}
    rows = [
        (run.model, run.arm, stage, measure, value)
        for run in runs
        if run.seed == SEED and run.arm in shown
        for stage, measures in read_json(folder / run.label / GAP).items()
        for measure, value in measures.items()
    ]
    schema = {"model": str, "arm": str, "stage": str, "measure": str, "value": float}
    return pl.DataFrame(rows, schema=schema, orient="row")
