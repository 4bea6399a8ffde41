"""Training one model with one start: batches, loop, early stop, checkpoints, resume."""

from sgurinit.training.run import Trained, train
from sgurinit.training.settings import TrainSettings

__all__ = ["TrainSettings", "Trained", "train"]
