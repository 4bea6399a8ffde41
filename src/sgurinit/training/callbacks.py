"""Checkpoints of the best and the last epoch, and early stopping."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sgurinit.models.checkpoint import save_model
from sgurinit.training.loop import EpochRow, RecommenderModule


def find_best_epoch(history: Sequence[EpochRow], monitor: str) -> EpochRow:
    """Find the row of the epoch with the highest `monitor`, not rounded; the earliest of equals.

    Parameters
    ----------
    history : sequence of dict
        One row per epoch; at least one. Epoch 0 is the start.
    monitor : str
        Validation metric, such as ``"recall@20"``.
    """
    return max(history, key=lambda row: row[monitor])


def is_out_of_patience(history: Sequence[EpochRow], monitor: str, patience: int) -> bool:
    """Return whether the last `patience` epochs had no better `monitor` than an earlier one.

    Only trained epochs are compared. The score of a good start often falls before it rises, and
    that must not end training.
    """
    trained = [row for row in history if row["epoch"] > 0]
    if not trained:
        return False
    best = find_best_epoch(trained, monitor)
    return bool(trained[-1]["epoch"] - best["epoch"] >= patience)


class EpochCheckpoints(Callback):
    """Save the best weights and the last state, and stop training when patience runs out.

    The best weights may be those of the start, which is ranked before the first epoch.

    The best epoch and the end of training follow from the module's history. It is part of the
    checkpoint, so a resumed run decides like an uninterrupted one. Files are written atomically.

    Parameters
    ----------
    best : Path
        File for the weights of the best epoch.
    last : Path
        File for the state that resuming needs.
    monitor : str
        Validation metric that decides, such as ``"recall@20"``; higher is better.
    patience : int
        Trained epochs without a better score before training stops, at least 1.
    on_epoch : callable, optional
        Called with each epoch's row, first with that of the start.
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
    def on_sanity_check_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        assert isinstance(pl_module, RecommenderModule)  # noqa: S101 - set by `train`
        save_model(pl_module.model, self.best)
        self._report(pl_module.history)

    @override
    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        assert isinstance(pl_module, RecommenderModule)  # noqa: S101 - set by `train`
        history = pl_module.history
        if find_best_epoch(history, self.monitor) is history[-1]:
            save_model(pl_module.model, self.best)
        if is_out_of_patience(history, self.monitor, self.patience):
            trainer.should_stop = True
        partial = self.last.with_name(self.last.name + ".partial")
        trainer.save_checkpoint(partial)
        os.replace(partial, self.last)  # noqa: PTH105 - replaces the older file in one step
        self._report(history)

    def _report(self, history: Sequence[EpochRow]) -> None:
        if self.on_epoch is not None:
            self.on_epoch(history[-1])
