"""Training one model: batches, training loop, early stopping, checkpoints, resuming."""

from sgurinit.training.machine import Machine
from sgurinit.training.run import Trained, train
from sgurinit.training.settings import TrainSettings

__all__ = ["Machine", "TrainSettings", "Trained", "train"]
