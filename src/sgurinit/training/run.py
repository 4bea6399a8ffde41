"""Train one model with one initializer on one data set."""

from __future__ import annotations

import logging
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.arms import Initializer
from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.files import claim
from sgurinit.handover import HandoverReport
from sgurinit.models import Recommender, RecommenderConfig
from sgurinit.models.checkpoint import load_weights
from sgurinit.resolve import (
    resolve_config,
    resolve_dataset,
    resolve_initializer,
    resolve_model,
)
from sgurinit.runtime import keyboard_interrupts
from sgurinit.seeds import derive
from sgurinit.training.callbacks import KeepEpochs, best_row, is_over
from sgurinit.training.loop import EpochRow, RecommenderModule
from sgurinit.training.sampler import TripleSampler
from sgurinit.training.settings import TrainSettings

RUN = "run.json"
BEST = "best.safetensors"
LAST = "last.ckpt"

Stage = Literal["start", "trained"]


@dataclass(frozen=True)
class Trained:
    """A finished training run.

    Attributes
    ----------
    model
        The model with the weights of its best epoch.
    history
        A row per epoch: ``epoch`` (from 0), ``train_loss``, each validation metric as
        ``recall@20``, ``train_seconds`` for training and ``seconds`` with validation.
    best_epoch
        Epoch with the best validation score.
    handover
        What the initializer did to the user tables.
    stopped_early
        Whether patience ended the run, rather than the number of epochs.
    """

    model: Recommender
    history: list[EpochRow]
    best_epoch: int
    handover: HandoverReport
    stopped_early: bool


def build_model(
    kind: type[Recommender], dataset: Dataset, config: RecommenderConfig, *, seed: int
) -> Recommender:
    """Construct a model with weights from the seed's own stream; other streams are untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "weights"))
        return kind(dataset, config)


def train(
    dataset: Dataset | str | Path,
    model: str | type[Recommender] = "lightgcn",
    initializer: str | type[Initializer] | Initializer = "sgurinit",
    *,
    config: Mapping[str, Any] | RecommenderConfig | None = None,
    settings: TrainSettings | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    on_epoch: Callable[[EpochRow], None] | None = None,
    on_stage: Callable[[Stage, Recommender], None] | None = None,
) -> Trained:
    """Build a model, start its users, train it with early stopping on validation.

    Parameters
    ----------
    dataset
        A data set, its path or its name.
    model, initializer
        Names, classes or, for the initializer, an instance.
    config
        The model's settings, or those of its fields that differ from the defaults.
    settings
        Settings of the run.
    seed
        One number for everything random.
    folder
        Where checkpoints are kept. A run that was killed there resumes, to the same numbers; up to
        rounding where a model does not repeat on several threads. Without a folder nothing is kept.
    on_epoch
        Called with each epoch's row.
    on_stage
        Called with the model, in evaluation mode, as it starts (``"start"``) and with the weights
        of its best epoch (``"trained"``).

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        A name, a field or the data cannot be used, or `folder` holds another run.
    """
    dataset = resolve_dataset(dataset)
    kind = resolve_model(model)
    settings = settings or TrainSettings()
    arm = resolve_initializer(initializer)
    built = build_model(kind, dataset, resolve_config(kind, config), seed=seed)
    report = arm.apply(built, dataset, seed=seed)
    if on_stage is not None:
        on_stage("start", built.eval())
        built.train()
    module = RecommenderModule(
        built,
        TripleSampler(dataset, settings.batch_size, seed, settings.negatives),
        FullRanking(dataset, "valid"),
        seed,
    )
    with _folder(folder) as place:
        claim(place / RUN, _identity(built, arm, settings, seed, dataset))
        _fit(module, settings, place, on_epoch)
        load_weights(built, place / BEST)
    if on_stage is not None:
        on_stage("trained", built.eval())
    return Trained(
        model=built.eval(),
        history=module.history,
        best_epoch=int(best_row(module.history, settings.monitor)["epoch"]),
        handover=report,
        stopped_early=is_over(module.history, settings.monitor, settings.patience),
    )


def _identity(
    model: Recommender,
    initializer: Initializer,
    settings: TrainSettings,
    seed: int,
    dataset: Dataset,
) -> dict[str, Any]:
    """Everything that a run's numbers follow from: what may go on in a folder and what may not."""
    return {
        "model": {
            "class": type_before_parametrizations(model).__name__,
            **model.config.model_dump(mode="json"),
        },
        "initializer": {
            "name": initializer.name,
            **initializer.model_dump(mode="json"),
        },
        "train": settings.model_dump(mode="json"),
        "seed": seed,
        "data": dataset.fingerprint,
    }


def _fit(
    module: RecommenderModule,
    settings: TrainSettings,
    folder: Path,
    on_epoch: Callable[[EpochRow], None] | None,
) -> None:
    """Run the loop from the folder's last checkpoint, or from the start."""
    last = folder / LAST
    resumed = last.is_file()
    if resumed:
        module.history = _history(last)
        if len(module.history) >= settings.max_epochs or is_over(
            module.history, settings.monitor, settings.patience
        ):
            return
    with _quiet_lightning(), keyboard_interrupts():
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=settings.max_epochs,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            enable_checkpointing=False,
            callbacks=[
                KeepEpochs(folder / BEST, last, settings.monitor, settings.patience, on_epoch)
            ],
        )
        trainer.fit(module, ckpt_path=last if resumed else None, weights_only=True)


def _history(last: Path) -> list[EpochRow]:
    try:
        history: list[EpochRow] = torch.load(last, weights_only=True)["history"]
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{last}: expected the checkpoint of a run ({type(error).__name__}); "
            "remove it to begin the run again"
        ) from None
    return history


@contextmanager
def _folder(folder: str | Path | None) -> Iterator[Path]:
    if folder is not None:
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="sgurinit-") as temporary:
        yield Path(temporary)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep the loop's own advice (loggers, worker counts, devices) out of the user's terminal."""
    names = ["lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
