"""The Lightning module: training steps, an epoch and its validation."""

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
from sgurinit.training.history import EpochRow, pack_history, unpack_history
from sgurinit.training.recorded import RecordedStep, make_recorder
from sgurinit.training.sampler import TripleSampler


class RecommenderModule(lightning.LightningModule):
    """A recommender in training.

    Lightning's sanity check, a validation before the first epoch, ranks the start: epoch 0. A
    trained epoch has the number of epochs that are completed at its end.

    Every epoch seeds torch's global generator from the run's seed and the number of the epoch, so a
    resumed run draws the same random numbers as an uninterrupted one.

    For Lightning, an epoch is a single step with manual optimization: what it does around a step
    takes longer than a small model's step itself.

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
        self.automatic_optimization = False
        self.model = model
        self.sampler = sampler
        self.validation = validation
        self.seed = seed
        self.history: list[EpochRow] = []
        self._optimizer: torch.optim.Optimizer
        self._recorded_step: RecordedStep | None = None
        self._rate: float | Tensor = model.config.learning_rate
        self._losses: list[Tensor] = []
        self._train_loss = 0.0
        self._scores: dict[str, float] = {}
        self._epoch_began = 0.0
        self._training_ended = 0.0

    @override
    def train_dataloader(self) -> DataLoader[Tensor]:
        return _single_step()  # it trains on all batches of the epoch

    @override
    def val_dataloader(self) -> DataLoader[Tensor]:
        return _single_step()  # it ranks all users

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        recorder = None
        if self.model.fixed_shapes and self.trainer.world_size == 1:
            recorder = make_recorder(self.device)
        if recorder is not None:
            self._recorded_step = RecordedStep(self.take_step, recorder)
        # A recorded step reads the step size from the device.
        rate = self.model.config.learning_rate
        self._rate = torch.tensor(rate, device=self.device) if recorder is not None else rate
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), lr=self._rate, fused=True, capturable=recorder is not None
        )
        return self._optimizer

    @override
    def on_train_epoch_start(self) -> None:
        self._epoch_began = time.perf_counter()
        self._losses = []
        self._set_learning_rate()
        torch.manual_seed(derive_seed(self.seed, "training", self.current_epoch))
        self.model.begin_epoch(derive_seed(self.seed, "model", self.current_epoch))

    def _set_learning_rate(self) -> None:
        """Set the step size of the epoch, whatever a checkpoint of another device says."""
        config = self.model.config
        rate = config.learning_rate * config.learning_rate_decay ** (self.current_epoch / 50)
        if isinstance(self._rate, Tensor):
            self._rate.fill_(rate)
        else:
            self._rate = rate
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate
            group["capturable"] = isinstance(self._rate, Tensor)

    @override
    def training_step(self, _: Tensor) -> None:
        recorded = self._recorded_step or self.take_step
        for number, batch in enumerate(self.sampler.epoch(self.current_epoch, self.device)):
            step = self.take_step if number < self.model.n_other_steps else recorded
            self._losses.append(step(batch))

    def take_step(self, batch: Batch) -> Tensor:
        """Update the weights by one batch; return its loss."""
        self._optimizer.zero_grad()
        loss = self.compute_loss(batch)
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(loss)
        self._optimizer.step()
        return loss.detach()

    def compute_loss(self, batch: Batch) -> Tensor:
        """Compute the loss of a batch. Where several processes share it, of this one's part."""
        return self.model.loss(batch)

    @override
    def on_fit_end(self) -> None:
        self._recorded_step = None  # and with it the memory of its graph

    @override
    def on_validation_epoch_start(self) -> None:
        if not self.trainer.sanity_checking:  # the host waits here until the device has trained
            self._train_loss = float(torch.stack(self._losses).cpu().double().mean())
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
                "train_loss": self._train_loss,
            }
        )
        row |= self._scores
        row["train_seconds"] = self._training_ended - self._epoch_began
        row["seconds"] = time.perf_counter() - self._epoch_began
        self.history.append(row)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = pack_history(self.history)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = unpack_history(checkpoint["history"])


def _single_step() -> DataLoader[Tensor]:
    """Make the data loader of an epoch that is a single step for Lightning."""
    # A loader draws a number whenever it starts, in a resumed run not at the same moment.
    generator = torch.Generator()
    return DataLoader([torch.empty(0)], batch_size=None, generator=generator)  # type: ignore[arg-type]
