"""The semantic gap between users and items in the vectors of every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from sgurinit.core.semantic_gap import compute_gap
from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.sweeps import drop_sweep_cells
from sgurinit.files import read_json
from sgurinit.models import Recommender

SHOWN_SEED = 0  # the seed whose starts and models are described
GAP_FILE = "gap.json"
_GAPS = TypeAdapter(dict[str, dict[str, FiniteFloat | None]])


@torch.no_grad()
def measure_gap(model: Recommender, dataset: Dataset) -> dict[str, Any]:
    """Measure the semantic gap between the vectors whose product is a model's score, see `Gap`."""
    users, items = model.embed()
    matrix = dataset.train_matrix()
    return asdict(compute_gap(matrix, items.cpu().numpy(), users.cpu().numpy(), SHOWN_SEED))


def gaps_table(runs: Sequence[RunSettings], folder: Path) -> pl.DataFrame:
    """Collect the semantic gap of every model and arm with seed 0, which the runs have measured.

    Parameters
    ----------
    runs : sequence of RunSettings
        Finished runs. Cells of a sweep over two fields are left out.
    folder : Path
        Folder that contains the folders of the runs.

    Returns
    -------
    DataFrame
        Columns model, arm, stage, measure and value. The stage is ``"start"`` before training or
        ``"trained"`` after it. See `Gap` for the measures.
    """
    shown = {entry["arm"] for entry in drop_sweep_cells([{"arm": run.arm} for run in runs])}
    rows = [
        (run.model, run.arm, stage, measure, value)
        for run in runs
        if run.seed == SHOWN_SEED and run.arm in shown
        for stage, measures in _read_gaps(folder / run.label / GAP_FILE).items()
        for measure, value in measures.items()
    ]
    schema = {"model": str, "arm": str, "stage": str, "measure": str, "value": float}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _read_gaps(path: Path) -> dict[str, dict[str, float | None]]:
    """Read the measures of every stage of a run."""
    try:
        return _GAPS.validate_python(read_json(path))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"{path}: {field} is damaged; remove result.json beside it to run it again"
        ) from None
