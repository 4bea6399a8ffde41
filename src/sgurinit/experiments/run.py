"""One run in its folder: train, read the test data once, leave everything that was found.

A trial of a search reads validation data alone and leaves no more than what the search needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.evaluation import CUTOFFS, METRICS, FullRanking, group_rankings
from sgurinit.experiments.environment import environment
from sgurinit.experiments.semantic_gap import GAP, SEED, measure_gap
from sgurinit.experiments.settings import RunSettings
from sgurinit.files import claim, read_json, write_json, write_table
from sgurinit.models import Recommender
from sgurinit.training import Trained, train
from sgurinit.training.run import BEST, LAST, Stage

METRIC_NAMES = tuple(f"{metric}@{k}" for metric in METRICS for k in CUTOFFS)
RESULT = "result.json"
CHECKPOINT = "checkpoint"

logger = logging.getLogger("sgurinit")


@dataclass(frozen=True)
class RunEvent:
    """News of a run, for progress displays.

    Attributes
    ----------
    run
        Its label, see `RunSettings.label`; empty for what is done for all runs together.
    kind
        ``"kept"``: it was finished before; ``"start"``; ``"step"`` with what is done now as `step`;
        ``"epoch"`` with that epoch's row as `values`; ``"done"`` with test metrics (a trial:
        validation metrics), best_epoch, epochs and seconds as `values`.
    """

    run: str
    kind: Literal["kept", "start", "step", "epoch", "done"]
    values: Mapping[str, float] = field(default_factory=dict)
    step: str = ""


EventCallback = Callable[[RunEvent], None]


def no_event(event: RunEvent) -> None:
    """Take no notice of `event`."""


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` is complete; its result is what is written last."""
    return (folder / RESULT).is_file()


def execute(
    dataset: Dataset,
    run: RunSettings,
    folder: Path,
    facts: Mapping[str, Any],
    on_event: EventCallback = no_event,
) -> dict[str, Any]:
    """Train and test one run in `folder`, or return what a finished run there found.

    A run that was killed goes on at its last epoch, to the same numbers.

    Parameters
    ----------
    dataset
        What to learn from and test on.
    run
        The run.
    folder
        Made if absent.
    facts
        The data, see `data_facts`; kept with the run.
    on_event
        Called with news.

    Returns
    -------
    dict
        The run's ``result.json``: metrics of both splits, of validation alone for a trial, best
        epoch, epochs, seconds. A trial that cannot be done or diverges scores 0 and has ``failed``.

    Raises
    ------
    InputError
        The folder belongs to a run of other settings or data, or the model diverged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"run": run.model_dump(mode="json"), "data": {"fingerprint": facts["fingerprint"]}}
    claim(folder / "config.json", kept)
    if is_finished(folder):
        on_event(RunEvent(run.label, "kept"))
        return read_json(folder / RESULT)
    write_json(folder / "environment.json", environment())
    on_event(RunEvent(run.label, "start"))
    on_event(RunEvent(run.label, "step", step="start of the users"))
    with _log_file(folder / "log.txt"):
        result = (
            _test(dataset, run, folder, on_event)
            if run.trial is None
            else _try(dataset, run, folder, on_event)
        )
        write_json(folder / RESULT, result)
    # The optimiser's state was for going on; a finished run never does.
    (folder / CHECKPOINT / LAST).unlink(missing_ok=True)
    if run.trial is not None:
        (folder / CHECKPOINT / BEST).unlink(missing_ok=True)
    facts_of_run = {name: result[name] for name in ("best_epoch", "epochs", "seconds")}
    on_event(RunEvent(run.label, "done", {**result.get("test", result["valid"]), **facts_of_run}))
    return result


def _train(
    dataset: Dataset,
    run: RunSettings,
    folder: Path,
    on_event: EventCallback,
    on_stage: Callable[[Stage, Recommender], None] | None = None,
) -> Trained:
    logger.info("%s on %s begins or goes on", run.label, dataset.name)

    def on_epoch(row: dict[str, float]) -> None:
        logger.info(
            "epoch %d: loss %.6f, %s %.6f, %.2f s",
            row["epoch"],
            row["train_loss"],
            run.train.monitor,
            row[run.train.monitor],
            row["seconds"],
        )
        on_event(RunEvent(run.label, "epoch", row))

    return train(
        dataset,
        run.model,
        run.make_initializer(),
        config=run.config,
        settings=run.train,
        seed=run.seed,
        folder=folder / CHECKPOINT,
        on_epoch=on_epoch,
        on_stage=on_stage,
    )


def _try(
    dataset: Dataset, run: RunSettings, folder: Path, on_event: EventCallback
) -> dict[str, Any]:
    """Train and keep no more than the validation score."""
    try:
        trained = _train(dataset, run, folder, on_event)
    except InputError as error:
        logger.info("failed: %s", error)
        return {
            "best_epoch": 0, "epochs": 0, "seconds": 0.0, "failed": str(error),
            "valid": dict.fromkeys(METRIC_NAMES, 0.0),
        }  # fmt: skip
    return _found(trained)


def _test(
    dataset: Dataset, run: RunSettings, folder: Path, on_event: EventCallback
) -> dict[str, Any]:
    """Train, test, and write the tables of the run."""
    gaps: dict[str, Any] = {}

    def measure(stage: Stage, model: Recommender) -> None:
        gaps[stage] = measure_gap(model, dataset)

    trained = _train(dataset, run, folder, on_event, measure if run.seed == SEED else None)
    on_event(RunEvent(run.label, "step", step="test"))
    if gaps:
        write_json(folder / GAP, gaps)
    write_table(folder / "epochs.csv", pl.DataFrame(trained.history))
    write_json(folder / "handover.json", trained.handover.to_dict())
    score = trained.model.scorer()
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
        for name, of_group in group_rankings(dataset, mask_valid=run.mask_valid)
    ]
    write_table(folder / "groups.parquet", pl.concat(groups))
    result = _found(trained)
    result["test"] = {name: float(test[name].mean()) for name in METRIC_NAMES}
    logger.info("test %s %.6f", run.train.monitor, result["test"][run.train.monitor])
    return result


def _found(trained: Trained) -> dict[str, Any]:
    """What training and validation came to."""
    best = next(row for row in trained.history if row["epoch"] == trained.best_epoch)
    return {
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
        "stopped_early": trained.stopped_early,
        "seconds": sum(row["seconds"] for row in trained.history),
        "valid": {name: best[name] for name in METRIC_NAMES},
    }


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Send what the package logs to `path` as well; an error that ends the run is among it."""
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
