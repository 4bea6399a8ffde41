"""Lightning's trainer as the library uses it: one device, checkpoints, resuming."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import Strategy
from typing_extensions import override

from sgurinit.errors import InputError
from sgurinit.runtime import raise_keyboard_interrupts
from sgurinit.training.callbacks import EpochCheckpoints, LocalCheckpoints
from sgurinit.training.history import BEST_FILE, LAST_FILE, EpochRow, is_over, read_history
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.settings import TrainSettings


def fit(
    module: RecommenderModule,
    settings: TrainSettings,
    folder: Path,
    on_epoch: Callable[[EpochRow], None] | None,
    *,
    devices: Sequence[torch.device],
    strategy: Strategy | None = None,
) -> None:
    """Train from the folder's last checkpoint, or from the beginning.

    Parameters
    ----------
    module : RecommenderModule
        The model in training. It is on the CPU afterwards.
    settings : TrainSettings
        Settings of the run.
    folder : Path
        Folder of the checkpoints, which may have been written on another device.
    on_epoch : callable or None
        Called with each epoch's row.
    devices : sequence of torch.device
        Where to train: one device, or that of each process.
    strategy : Strategy or None, default None
        How several processes share the run. None: there is one.

    Raises
    ------
    InputError
        The checkpoint cannot be read, or the device lacks an operation that the model needs.
    """
    last = folder / LAST_FILE
    resumed = last.is_file()
    if resumed:
        module.history = read_history(last)
        if is_over(module.history, settings):
            return
    kind = devices[0].type
    # Lightning would take the variables of a cluster for its own, such as Slurm's number of tasks.
    plugins: list[Any] = [LocalCheckpoints(), LightningEnvironment()]
    if settings.precision == "bf16-mixed":
        plugins.append(TrainingPrecision("bf16-mixed", kind))
    with _quiet_lightning(), raise_keyboard_interrupts(), explain_missing_operations(kind):
        trainer = lightning.Trainer(
            accelerator=kind,
            devices=[device.index for device in devices] if kind == "cuda" else len(devices),
            strategy=strategy or "auto",
            max_epochs=settings.max_epochs,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0 if resumed else -1,  # -1, all of them, ranks the start
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            enable_checkpointing=False,
            callbacks=[EpochCheckpoints(folder / BEST_FILE, last, settings, on_epoch)],
            plugins=plugins,
        )
        trainer.fit(module, ckpt_path=last if resumed else None, weights_only=True)


class TrainingPrecision(MixedPrecision):
    """Mixed precision in training steps only: rankings compute in the precision of the weights."""

    @override
    @contextmanager
    def val_step_context(self) -> Iterator[None]:
        yield


@contextmanager
def explain_missing_operations(kind: str) -> Iterator[None]:
    """Context manager: raise an `InputError` where ``"mps"`` lacks an operation or a type."""
    try:
        yield
    except (NotImplementedError, TypeError) as error:
        if kind != "mps" or "MPS" not in str(error):
            raise
        what = str(error).partition(". ")[0].splitlines()[0]
        raise InputError(f"device is 'mps': {what}; use device=cpu") from error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice (loggers, worker counts, devices) out of the terminal."""
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
