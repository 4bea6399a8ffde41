"""How long a comparison takes, estimated before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from sgurinit.data import Dataset
from sgurinit.experiments.events import EventCallback, RunEvent
from sgurinit.experiments.run import RESULT_FILE
from sgurinit.experiments.settings import ComparisonSettings, Halving, RunCounts
from sgurinit.files import read_json
from sgurinit.runtime import count_cores
from sgurinit.training import Machine, TrainSettings, train

USUAL_EPOCHS = 100
"""Epochs of a run, assumed for a model without finished runs."""


@dataclass(frozen=True)
class ModelCost:
    """Estimated time of the runs of one model, each with its share of the cores.

    Attributes
    ----------
    model : str
        Name of the model.
    counts : RunCounts
        Numbers of trials and of runs.
    n_finished : int
        Number of finished runs that the estimate is based on. 0: two epochs were measured.
    seconds_per_epoch : float
        Time of an epoch and its validation.
    epochs : float
        Expected number of epochs of a run that is not stopped: the mean of the finished ones, or
        `USUAL_EPOCHS`.
    epochs_per_trial : float
        Expected number of epochs of a trial, which may be stopped.

    See Also
    --------
    sgurinit.experiments.Study.estimate : Returns one for each model.
    """

    model: str
    counts: RunCounts
    n_finished: int
    seconds_per_epoch: float
    epochs: float
    epochs_per_trial: float

    @property
    def hours(self) -> float:
        """Sum of the times of all runs, finished ones included."""
        full = self.counts.exchange + self.counts.again + self.counts.runs
        epochs = self.counts.trials * self.epochs_per_trial + full * self.epochs
        return epochs * self.seconds_per_epoch / 3600


def estimate_costs(
    plan: ComparisonSettings,
    dataset: Dataset,
    folder: Path,
    jobs: int,
    on_event: EventCallback,
    *,
    machine: Machine,
) -> list[ModelCost]:
    """Estimate the time of each model of a plan, see `sgurinit.experiments.Study.estimate`."""
    halving = None if plan.search is None else plan.search.halving
    found = []
    for model in plan.models:
        finished = list(_read_finished(folder, model))
        if finished:
            n_epochs = sum(result["epochs"] for result in finished)
            seconds = sum(result["seconds"] for result in finished) / n_epochs
        else:
            on_event(RunEvent("", "step", step=f"two epochs of {model}"))
            with _share_cores(jobs):
                seconds = _measure_epoch(plan, model, dataset, machine)
        whole = [result["epochs"] for result in finished if result.get("stopped_at") is None]
        epochs = sum(whole) / len(whole) if whole else min(USUAL_EPOCHS, plan.train.max_epochs)
        cost = ModelCost(
            model,
            plan.count_runs(model),
            len(finished),
            seconds,
            epochs,
            expect_epochs(epochs, halving),
        )
        found.append(cost)
    return found


def expect_epochs(epochs: float, halving: Halving | None) -> float:
    """Expected number of epochs of a trial, if one that is not stopped has `epochs`.

    Examples
    --------
    >>> expect_epochs(100, Halving(epochs=(30, 90), keep=0.5))  # 30 + 60 / 2 + 10 / 4
    62.5
    """
    if halving is None:
        return epochs
    limits = [0, *(epoch for epoch in halving.epochs if epoch < epochs), epochs]
    parts = enumerate(pairwise(limits))
    return sum((end - begin) * halving.keep**n for n, (begin, end) in parts)


def _read_finished(folder: Path, model: str) -> Iterator[Mapping[str, Any]]:
    """Read the results of a model's finished runs and trials that have at least one epoch."""
    for part in ("trials", "runs"):
        for path in sorted((folder / part / model).glob(f"*/*/{RESULT_FILE}")):
            result = read_json(path)
            if result["epochs"]:
                yield result


@contextmanager
def _share_cores(jobs: int) -> Iterator[None]:
    """Use as many threads as a run has beside others."""
    before, threads = torch.get_num_threads(), max(1, count_cores() // jobs)
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _measure_epoch(
    plan: ComparisonSettings, model: str, dataset: Dataset, machine: Machine
) -> float:
    """Time of an epoch from random values: the second, since the first has more to prepare."""
    settings = plan.train.model_dump() | {"max_epochs": 2, "patience": 2, "floors": {}}
    trained = train(
        dataset,
        model,
        "random",
        config=plan.models[model],
        settings=TrainSettings(**settings),
        machine=machine,
    )
    return float(trained.history[-1]["seconds"])
