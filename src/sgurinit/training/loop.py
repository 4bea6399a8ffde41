"""The Lightning module: a training step, an epoch and its validation."""

from __future__ import annotations

import time
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, Recommender
from sgurinit.seeds import derive_seed
from sgurinit.training.sampler import TripleSampler

EpochRow = dict[str, Any]


class RecommenderModule(lightning.LightningModule):
    """A recommender in training.

    Lightning's sanity check, a validation before the first epoch, ranks the start: epoch 0. A
    trained epoch has the number of epochs that are completed at its end.

    Every epoch seeds torch's global generator from the run's seed and the number of the epoch, so a
    resumed run draws the same random numbers as an uninterrupted one.

    Parameters
    ----------
    model : Recommender
        The model, already initialized.
    sampler : TripleSampler
        Draws the batches.
    validation : FullRanking
        Ranking of the validation split.
    seed : int
        The run's seed.

    Attributes
    ----------
    history : list of dict
        One row per finished epoch, and before them that of the start, see `Trained`.
    """

    def __init__(
        self, model: Recommender, sampler: TripleSampler, validation: FullRanking, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.sampler = sampler
        self.validation = validation
        self.seed = seed
        self.history: list[EpochRow] = []
        self._losses: list[Tensor] = []
        self._scores: dict[str, float] = {}
        self._epoch_began = 0.0
        self._training_ended = 0.0

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        return _as_loader(self.sampler.epoch(self.current_epoch, self.device))

    @override
    def val_dataloader(self) -> DataLoader[Tensor]:
        return _as_loader([torch.empty(0)])  # a single step ranks all users

    @override
    def configure_optimizers(self) -> Any:
        config = self.model.config
        optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, fused=True)
        if config.learning_rate_decay == 1:
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: config.learning_rate_decay ** (epoch / 50)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule}}

    @override
    def on_train_epoch_start(self) -> None:
        self._epoch_began = time.perf_counter()
        self._losses = []
        torch.manual_seed(derive_seed(self.seed, "training", self.current_epoch))
        self.model.begin_epoch(derive_seed(self.seed, "model", self.current_epoch))

    @override
    def training_step(self, batch: Batch) -> Tensor:
        loss = self.model.loss(batch)
        self._losses.append(loss.detach())
        return loss

    @override
    def on_validation_epoch_start(self) -> None:
        self._training_ended = time.perf_counter()
        if self.trainer.sanity_checking:
            self._epoch_began = self._training_ended

    @override
    def validation_step(self, _: Tensor) -> None:
        found = self.validation.evaluate(self.model.make_scorer())
        self._scores = {metric: float(values.mean()) for metric, values in found.items()}

    @override
    def on_validation_epoch_end(self) -> None:
        row: EpochRow = (
            {"epoch": 0, "train_loss": None}
            if self.trainer.sanity_checking
            else {
                "epoch": self.current_epoch + 1,
                "train_loss": float(torch.stack(self._losses).double().mean()),
            }
        )
        row |= self._scores
        row["train_seconds"] = self._training_ended - self._epoch_began
        row["seconds"] = time.perf_counter() - self._epoch_began
        self.history.append(row)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


def _as_loader(batches: list[Any]) -> DataLoader[Any]:
    """Wrap finished batches in a data loader that yields them one by one."""
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
