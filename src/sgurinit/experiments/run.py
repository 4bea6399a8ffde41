"""One training run: train, test once, and save all results in the folder of the run.

A trial of a search only uses validation data and only saves what the search needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, FiniteFloat, NonNegativeInt, ValidationError

from sgurinit.data import Dataset
from sgurinit.errors import InputError, MemoryInputError
from sgurinit.evaluation import CUTOFFS, METRICS, FullRanking, make_group_rankings
from sgurinit.experiments.events import EventCallback, RunEvent, no_event
from sgurinit.experiments.provenance import ENVIRONMENT_FILE, describe_environment
from sgurinit.experiments.run_tables import read_run_table
from sgurinit.experiments.semantic_gap import GAP_FILE, SHOWN_SEED, measure_gap
from sgurinit.experiments.settings import RunSettings
from sgurinit.files import claim, read_json, write_json, write_table
from sgurinit.models import Recommender
from sgurinit.runtime import explain_memory_errors
from sgurinit.training import Machine, Trained, train
from sgurinit.training.history import BEST_FILE, LAST_FILE, EpochRow
from sgurinit.training.machine import resolve_machine
from sgurinit.training.run import Stage

METRIC_NAMES = tuple(f"{metric}@{k}" for metric in METRICS for k in CUTOFFS)
RESULT_FILE = "result.json"
_CHECKPOINT = "checkpoint"

logger = logging.getLogger("sgurinit")


@dataclass(frozen=True)
class TrialResult:
    """What a search learns from a run: its validation scores.

    Attributes
    ----------
    score : float
        The best validation score; 0 if the run failed.
    best_so_far : tuple of float
        The best validation score up to each epoch, first that of the start. Empty if it failed.
    epochs : int
        Number of trained epochs.
    seconds : float
        Time of training and validation.
    failed : str or None
        Why the run failed.
    stopped_at : int or None
        Epoch at which the run was stopped because it was too poor.
    """

    score: float
    best_so_far: tuple[float, ...]
    epochs: int
    seconds: float
    failed: str | None = None
    stopped_at: int | None = None


def read_trial(folder: Path, monitor: str) -> TrialResult:
    """Read the scores of a finished run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    monitor : str
        Validation metric that decides.

    Raises
    ------
    InputError
        A file is missing or cannot be read.
    """
    found = _read_result(folder)
    scores: list[float] = []
    if found.get("failed") is None:
        scores = read_run_table(folder / "epochs.csv", [monitor])[monitor].to_list()
    return TrialResult(
        found["valid"][monitor],
        tuple(accumulate(scores, max)),
        found["epochs"],
        found["seconds"],
        found.get("failed"),
        found.get("stopped_at"),
    )


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` is complete. Its result is written last."""
    return (folder / RESULT_FILE).is_file()


class _Result(BaseModel):
    """What every ``result.json`` holds."""

    valid: dict[str, FiniteFloat]
    test: dict[str, FiniteFloat] | None = None
    best_epoch: NonNegativeInt
    epochs: NonNegativeInt
    seconds: FiniteFloat
    failed: str | None = None
    stopped_at: NonNegativeInt | None = None


def _read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a finished run, and check what the tables need."""
    path = folder / RESULT_FILE
    found = read_json(path)
    try:
        result = _Result.model_validate(found, strict=True)
        for split in (result.valid, result.test):
            if split is not None and not set(METRIC_NAMES) <= set(split):
                raise InputError(f"{path}: a metric is missing; remove the file to run it again")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}, {field}: {first['msg'].lower()}; remove the file to run it again"
        ) from None
    return found


def execute_run(
    dataset: Dataset,
    run: RunSettings,
    folder: Path,
    data_facts: Mapping[str, Any],
    on_event: EventCallback = no_event,
    *,
    machine: Machine | None = None,
) -> dict[str, Any]:
    """Train and test one run in `folder`, or return the result of a run that is finished there.

    Parameters
    ----------
    dataset : Dataset
        The data.
    run : RunSettings
        Settings of the run. If `trial` is set, the run is a trial of a search.
    folder : Path
        Folder of the run, created if missing. An interrupted run in it resumes.
    data_facts : mapping
        Description of the data, see `describe_data`. Its fingerprint is saved with the run.
    on_event : callable, default no_event
        Called with each `RunEvent`.
    machine : Machine or None, default None
        The device, see `sgurinit.train`. The run resumes on another.

    Returns
    -------
    dict
        Content of the run's ``result.json``: ``valid`` and ``test`` metrics, ``best_epoch`` (0 is
        the start), ``epochs``, ``seconds`` and ``stopped_early``. A trial has no ``test``, and the
        epoch at which it was stopped because it was poor as ``stopped_at``. A trial that fails or
        diverges scores 0 and has the reason as ``failed``.

    Raises
    ------
    InputError
        The folder belongs to a run with other settings or data, the model diverged, or there is
        too little memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"run": run.model_dump(mode="json"), "data": {"fingerprint": data_facts["fingerprint"]}}
    claim(folder / "config.json", kept)
    if is_finished(folder):
        _remove_what_resumes(folder, run)  # a kill may have come before
        on_event(RunEvent(run.label, "kept"))
        return _read_result(folder)
    machine = resolve_machine(machine)
    write_json(folder / ENVIRONMENT_FILE, describe_environment(machine))
    on_event(RunEvent(run.label, "begin"))
    on_event(RunEvent(run.label, "step", step="initial user vectors"))
    execute = _execute_test_run if run.trial is None else _execute_trial
    with _log_file(folder / "log.txt"):
        result = execute(dataset, run, folder, on_event, machine)
        write_json(folder / RESULT_FILE, result)
    _remove_what_resumes(folder, run)
    times = {name: result[name] for name in ("best_epoch", "epochs", "seconds")}
    on_event(RunEvent(run.label, "done", {**result.get("test", result["valid"]), **times}))
    return result


def _remove_what_resumes(folder: Path, run: RunSettings) -> None:
    """Remove the optimizer's state, since a finished run never resumes, and a trial's weights."""
    (folder / _CHECKPOINT / LAST_FILE).unlink(missing_ok=True)
    if run.trial is not None:
        (folder / _CHECKPOINT / BEST_FILE).unlink(missing_ok=True)


def _train(
    dataset: Dataset,
    run: RunSettings,
    folder: Path,
    on_event: EventCallback,
    machine: Machine,
    *,
    on_stage: Callable[[Stage, Recommender], None] | None = None,
) -> Trained:
    logger.info("%s on %s begins or resumes", run.label, dataset.name)

    def on_epoch(row: EpochRow) -> None:
        loss = f"loss {row['train_loss']:.6f}, " if row["epoch"] else ""  # the start has none
        score = f"{run.train.monitor} {row[run.train.monitor]:.6f}"
        logger.info("epoch %d: %s%s, %.2f s", row["epoch"], loss, score, row["seconds"])
        on_event(RunEvent(run.label, "epoch", row))

    return train(
        dataset,
        run.model,
        run.make_initializer(),
        config=run.config,
        settings=run.train,
        seed=run.seed,
        folder=folder / _CHECKPOINT,
        machine=machine,
        on_epoch=on_epoch,
        on_stage=on_stage,
    )


def _execute_trial(
    dataset: Dataset, run: RunSettings, folder: Path, on_event: EventCallback, machine: Machine
) -> dict[str, Any]:
    """Train, and save only the validation scores."""
    try:
        trained = _train(dataset, run, folder, on_event, machine)
    except MemoryInputError:
        raise  # may not fail with fewer jobs or on another machine
    except InputError as error:
        logger.info("failed: %s", error)
        return {
            "best_epoch": 0, "epochs": 0, "seconds": 0.0, "failed": str(error),
            "valid": dict.fromkeys(METRIC_NAMES, 0.0),
        }  # fmt: skip
    write_table(folder / "epochs.csv", pl.DataFrame(trained.history))
    return {**_summarize_training(trained), "stopped_at": trained.stopped_at}


@explain_memory_errors()
def _execute_test_run(
    dataset: Dataset, run: RunSettings, folder: Path, on_event: EventCallback, machine: Machine
) -> dict[str, Any]:
    """Train, test, and write the tables of the run."""
    gaps: dict[str, Any] = {}

    def measure(stage: Stage, model: Recommender) -> None:
        gaps[stage] = measure_gap(model, dataset)

    on_stage = measure if run.seed == SHOWN_SEED else None
    trained = _train(dataset, run, folder, on_event, machine, on_stage=on_stage)
    on_event(RunEvent(run.label, "step", step="test"))
    if gaps:
        write_json(folder / GAP_FILE, gaps)
    write_table(folder / "epochs.csv", pl.DataFrame(trained.history))
    write_json(folder / "handover.json", trained.handover.to_dict())
    score = trained.model.to(machine.list_devices()[0]).make_scorer()
    ranking = FullRanking(dataset, "test", mask_valid=run.mask_valid)
    test = ranking.evaluate(score)
    n_train = np.bincount(dataset.train.users, minlength=dataset.n_users)
    users = {
        "user": ranking.users,
        "user_id": dataset.user_ids[ranking.users],
        "n_train": n_train[ranking.users],
    }
    write_table(folder / "users.parquet", pl.DataFrame({**users, **test}))
    groups = [
        pl.DataFrame({"user": of_group.users, **of_group.evaluate(score)}).with_columns(
            group=pl.lit(name)
        )
        for name, of_group in make_group_rankings(dataset, mask_valid=run.mask_valid)
    ]
    write_table(folder / "groups.parquet", pl.concat(groups))
    result = _summarize_training(trained)
    result["test"] = {name: float(test[name].mean()) for name in METRIC_NAMES}
    logger.info("test %s %.6f", run.train.monitor, result["test"][run.train.monitor])
    return result


def _summarize_training(trained: Trained) -> dict[str, Any]:
    """Epochs, seconds and validation metrics of a trained model."""
    best = trained.history[trained.best_epoch]
    return {
        "best_epoch": trained.best_epoch,
        "epochs": trained.history[-1]["epoch"],
        "stopped_early": trained.stopped_early,
        "seconds": sum(row["seconds"] for row in trained.history),
        "valid": {name: best[name] for name in METRIC_NAMES},
    }


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Also write what the package logs to `path`, including an error that ends the run."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except BaseException:
        logger.exception("stopped")
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
