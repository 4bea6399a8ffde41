"""How far users are from items in every model's own vectors, before training and after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import scipy.sparse as sp
import torch

from sgurinit.core.gap import gap
from sgurinit.data import Dataset
from sgurinit.experiments.run import CHECKPOINT, Listener, RunEvent, ignore
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.sweeps import without_cells
from sgurinit.files import read_json, write_json
from sgurinit.models import Recommender
from sgurinit.models.saved import load_weights
from sgurinit.resolve import resolve_config, resolve_model
from sgurinit.training.run import BEST, build_model

SEED = 0
_KEPT = "gap.json"


def gaps_table(
    runs: Sequence[RunSettings], dataset: Dataset, folder: Path, listen: Listener = ignore
) -> pl.DataFrame:
    """Measure the semantic gap of every model and arm with seed 0, as started and as trained.

    Measured between the vectors whose product is a model's score, and kept with the run. The cells
    of a sweep, and runs whose weights are gone, are left out.

    Parameters
    ----------
    runs
        Finished runs.
    dataset
        What they learned from.
    folder
        Where their folders are.
    listen
        Called with the run that is measured.

    Returns
    -------
    DataFrame
        model, arm, stage (start, trained), measure, value; see `Gap` for the measures.
    """
    matrix = dataset.train_matrix()
    shown = {entry["arm"] for entry in without_cells([{"arm": run.arm} for run in runs])}
    rows = [
        (run.model, run.arm, stage, measure, value)
        for run in runs
        if run.seed == SEED and run.arm in shown
        for stage, measures in _gaps(run, dataset, matrix, folder / run.label, listen)
        for measure, value in measures.items()
    ]
    schema = {"model": str, "arm": str, "stage": str, "measure": str, "value": float}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _gaps(
    run: RunSettings, dataset: Dataset, matrix: sp.csr_array, folder: Path, listen: Listener
) -> Iterator[tuple[str, dict[str, Any]]]:
    kept, weights = folder / _KEPT, folder / CHECKPOINT / BEST
    if not kept.is_file():
        if not weights.is_file():
            return
        listen(RunEvent("", "step", step=f"semantic gap of {run.model} {run.arm}"))
        kind = resolve_model(run.model)
        model = build_model(kind, dataset, resolve_config(kind, run.config), seed=run.seed)
        run.start()(model, dataset, seed=run.seed)
        found = {"start": _measure(model, matrix)}
        load_weights(model, weights)
        write_json(kept, found | {"trained": _measure(model, matrix)})
    yield from read_json(kept).items()


@torch.no_grad()
def _measure(model: Recommender, matrix: sp.csr_array) -> dict[str, Any]:
    users, items = model.eval().embed()
    return asdict(gap(matrix, items.numpy(), users.numpy(), SEED))
