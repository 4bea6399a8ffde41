"""A training step that is recorded once and then replayed as a whole.

An accelerator often computes a small step faster than the host can launch its parts. A CUDA graph
launches all of them at once. See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from sgurinit.models import Batch

logger = logging.getLogger("sgurinit")

# Steps before the recording. The first ones create the optimizer's state and the libraries' plans.
WARM_UP_STEPS = 3

Work = Callable[[], Tensor]


class Recorder(Protocol):
    """Records work on a device and replays it."""

    def warm_up(self, work: Work) -> Tensor:
        """Do the work where it will be recorded, and return its result."""

    def record(self, work: Work) -> Tensor:
        """Record the work without doing it. Each replay writes the tensor that is returned."""

    def replay(self) -> None:
        """Do the recorded work again, on what its input tensors hold now."""


class CudaRecorder:
    """Records work as a CUDA graph.

    Parameters
    ----------
    device : torch.device
        A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # nothing can be recorded on the default stream
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, work: Work) -> Tensor:
        """Do the work on the stream of the recording."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Work) -> Tensor:
        """Record the work. Its tensors stay in a memory pool of the graph."""
        with torch.cuda.graph(self._graph, stream=self._stream):
            return work()

    def replay(self) -> None:
        """Launch the graph."""
        self._graph.replay()


def make_recorder(device: torch.device) -> Recorder | None:
    """Make a recorder of work on a device, or None where nothing can be recorded."""
    return CudaRecorder(device) if device.type == "cuda" else None


class RecordedStep:
    """A training step on batches of one size, recorded after a few steps and then replayed.

    Batches are copied to the tensors that the recorded step reads. Batches of another size are
    computed step by step, and so is everything if the step cannot be recorded, with a warning.

    Parameters
    ----------
    step : callable
        Computes the loss of a batch and updates the weights; returns the loss. It does the same
        operations on tensors of the same shapes for every batch, and reads and writes the same
        tensors, except for those that it creates.
    recorder : Recorder
        Records the step.

    See Also
    --------
    sgurinit.models.Recommender : Declares by `fixed_shapes` that a model's step can be recorded.
    """

    def __init__(self, step: Callable[[Batch], Tensor], recorder: Recorder) -> None:
        self._step = step
        self._recorder: Recorder | None = recorder
        self._batch: Batch | None = None
        self._loss: Tensor | None = None
        self._n_warm = 0

    def __call__(self, batch: Batch) -> Tensor:
        """Do a step on a batch; return its loss."""
        if self._recorder is None:
            return self._step(batch)
        if self._batch is None:
            self._batch = Batch(*(torch.empty_like(column) for column in batch))
        if len(batch.users) != len(self._batch.users):
            return self._step(batch)
        if self._n_warm < WARM_UP_STEPS:
            self._n_warm += 1
            return self._recorder.warm_up(lambda: self._step(batch))
        for held, column in zip(self._batch, batch, strict=True):
            held.copy_(column)
        if self._loss is None:
            self._loss = self._record(self._recorder, self._batch)
        if self._loss is None:
            self._recorder = None
            return self._step(batch)
        self._recorder.replay()
        return self._loss.clone()

    def _record(self, recorder: Recorder, batch: Batch) -> Tensor | None:
        """Record the step on the tensors of a batch and return its loss, or None if that fails.

        What the failed recording holds, by its error, is free when this returns: memory may have
        run out.
        """
        try:
            return recorder.record(lambda: self._step(batch))
        except RuntimeError as error:
            logger.warning(
                "training steps cannot be recorded here (%s) and are launched part by part",
                str(error).partition("\n")[0],
            )
        return None
