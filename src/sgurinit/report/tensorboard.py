"""Curves for TensorBoard while runs go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgurinit.experiments import RunEvent


class TensorBoardCurves:
    """Writes loss and validation of every epoch, and the scores of a finished run.

    A listener for `compare` and `Study.run`; ``tensorboard --logdir FOLDER`` draws what it writes,
    a run each for every model, arm and seed. Comes with the extra ``sgurinit[tensorboard]``.

    Parameters
    ----------
    folder : str or Path
        Where to write; made if absent. Curves that are there go on.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.training import TrainSettings
    >>> few = TrainSettings(max_epochs=2)
    >>> curves = TensorBoardCurves("study/tensorboard")
    >>> found = compare(
    ...     planted(200, 100), ["bprmf"], ["random"], 1, out="study", settings=few, on_event=curves
    ... )
    >>> len(list(curves.folder.rglob("events*"))) > 0
    True
    """

    def __init__(self, folder: str | Path) -> None:
        # Here, so that a missing package is noticed before a run begins, and by who wants it alone.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        self._make: Any = SummaryWriter
        self.folder = Path(folder)
        self._writers: dict[str, Any] = {}

    def __call__(self, event: RunEvent) -> None:
        """Write news of a run."""
        if event.kind == "epoch":
            step = int(event.values["epoch"]) + 1
            self._write(event.run, "valid", event.values, step)
        elif event.kind == "done":
            if "/trial-" not in event.run:
                self._write(event.run, "test", event.values, int(event.values["best_epoch"]) + 1)
            if event.run in self._writers:
                self._writers.pop(event.run).close()

    def _write(self, run: str, split: str, values: Any, step: int) -> None:
        if run not in self._writers:
            self._writers[run] = self._make(str(self.folder / run))
        writer = self._writers[run]
        for name, value in values.items():
            if "@" in name:
                writer.add_scalar(f"{split}/{name.replace('@', '_')}", value, step)
        if split == "valid":
            writer.add_scalar("train/loss", values["train_loss"], step)
            writer.add_scalar("train/seconds_per_epoch", values["seconds"], step)
        writer.flush()
