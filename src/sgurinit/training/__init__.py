"""Training one model: batches, training loop, early stopping, checkpoints, resuming."""

from sgurinit.training.run import Trained, train
from sgurinit.training.settings import TrainSettings

__all__ = ["TrainSettings", "Trained", "train"]
