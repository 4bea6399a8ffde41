"""Keeping the best and the last epoch, and stopping when the best lies far enough back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sgurinit.models.checkpoint import save_model
from sgurinit.training.loop import EpochRow, RecommenderModule


def best_row(history: Sequence[EpochRow], monitor: str) -> EpochRow:
    """Epoch with the highest unrounded `monitor`, the earliest among equals."""
    return max(history, key=lambda row: row[monitor])


def is_over(history: Sequence[EpochRow], monitor: str, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better `monitor`."""
    return bool(history) and history[-1]["epoch"] - best_row(history, monitor)["epoch"] >= patience


class KeepEpochs(Callback):
    """Saves the best weights and the last state, and stops the run when patience is used up.

    Which epoch is best and when to stop follow from the module's history, which travels in the
    checkpoint, so a resumed run decides as an uninterrupted one. Files appear whole or not at all.

    Parameters
    ----------
    best
        File for the weights of the best epoch.
    last
        File for everything that going on needs.
    monitor
        Validation metric that decides, higher is better.
    patience
        Epochs without a gain before stopping.
    on_epoch
        Called with each epoch's row, for progress.
    """

    def __init__(
        self,
        best: Path,
        last: Path,
        monitor: str,
        patience: int,
        on_epoch: Callable[[EpochRow], None] | None = None,
    ) -> None:
        self.best = best
        self.last = last
        self.monitor = monitor
        self.patience = patience
        self.on_epoch = on_epoch

    @override
    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        assert isinstance(pl_module, RecommenderModule)  # noqa: S101 - the loop is ours
        history = pl_module.history
        if best_row(history, self.monitor) is history[-1]:
            save_model(pl_module.model, self.best)
        if is_over(history, self.monitor, self.patience):
            trainer.should_stop = True
        partial = self.last.with_name(self.last.name + ".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self.last)  # noqa: PTH105 - replaces the older file in one step
        if self.on_epoch is not None:
            self.on_epoch(history[-1])
