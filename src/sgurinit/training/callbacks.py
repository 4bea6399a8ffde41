"""Keeping the best epoch, and stopping when it lies far enough back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sgurinit.models.saved import save_model
from sgurinit.training.loop import EpochRow, RecommenderModule


def best_row(history: Sequence[EpochRow], monitor: str) -> EpochRow:
    """Epoch with the highest unrounded `monitor`, the earliest among equals."""
    return max(history, key=lambda row: row[monitor])


def is_over(history: Sequence[EpochRow], monitor: str, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better `monitor`."""
    return bool(history) and history[-1]["epoch"] - best_row(history, monitor)["epoch"] >= patience


class KeepBest(Callback):
    """Saves the weights of each best epoch and stops the run when patience is used up.

    Both follow from the module's history, which travels in the checkpoint, so a resumed run
    decides as an uninterrupted one.

    Parameters
    ----------
    path
        File that holds the best weights.
    monitor
        Validation metric that decides, higher is better.
    patience
        Epochs without a gain before stopping.
    on_epoch
        Called with each epoch's row, for progress.
    """

    def __init__(
        self,
        path: Path,
        monitor: str,
        patience: int,
        on_epoch: Callable[[EpochRow], None] | None = None,
    ) -> None:
        self.path = path
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
            save_model(pl_module.model, self.path)
        if self.on_epoch is not None:
            self.on_epoch(history[-1])
        if is_over(history, self.monitor, self.patience):
            trainer.should_stop = True
