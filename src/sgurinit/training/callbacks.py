"""Checkpoints of the best and the last epoch, written by a callback that also ends training."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sgurinit.files import replace_file
from sgurinit.models.checkpoint import save_model
from sgurinit.training.history import EpochRow, find_best_epoch, is_over
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.settings import TrainSettings


class LocalCheckpoints(TorchCheckpointIO):
    """Read and write checkpoints as files of this machine, with all tensors on the CPU.

    Lightning's own way takes a path for an address: ``~`` is the home folder, and ``::`` and
    ``file:`` name file systems. It also notes the device of every tensor, which another machine may
    not have.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        buffer = io.BytesIO()  # torch's own writer hides what the system says
        torch.save(move_data_to_device(checkpoint, torch.device("cpu")), buffer)
        Path(path).write_bytes(buffer.getbuffer())

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        found: dict[str, Any] = torch.load(path, map_location, weights_only=weights_only)
        return found


class EpochCheckpoints(Callback):
    """Save the best weights and the last state, and stop training when it is over.

    The best weights may be those of the start, which is ranked before the first epoch.

    The best epoch and the end of training follow from the module's history. It is part of the
    checkpoint, so a resumed run decides like an uninterrupted one. Files are written atomically, by
    the first process where several share a run.

    Parameters
    ----------
    best : Path
        File for the weights of the best epoch.
    last : Path
        File for the state that resuming needs.
    settings : TrainSettings
        Settings of the run, which name the metric that decides and say when training ends.
    on_epoch : callable, optional
        Called with each epoch's row, first with that of the start.
    """

    def __init__(
        self,
        best: Path,
        last: Path,
        settings: TrainSettings,
        on_epoch: Callable[[EpochRow], None] | None = None,
    ) -> None:
        self.best = best
        self.last = last
        self.settings = settings
        self.on_epoch = on_epoch

    @override
    def on_sanity_check_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        assert isinstance(pl_module, RecommenderModule)  # noqa: S101 - set by `train`
        if trainer.is_global_zero:
            save_model(pl_module.model, self.best)
            self._report(pl_module.history)

    @override
    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        assert isinstance(pl_module, RecommenderModule)  # noqa: S101 - set by `train`
        history = pl_module.history
        if is_over(history, self.settings):
            trainer.should_stop = True
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.last)  # writes nothing, but the first process waits for it
            return
        if find_best_epoch(history, self.settings.monitor) is history[-1]:
            save_model(pl_module.model, self.best)
        replace_file(self.last, trainer.save_checkpoint)
        self._report(history)

    def _report(self, history: Sequence[EpochRow]) -> None:
        if self.on_epoch is not None:
            self.on_epoch(history[-1])
