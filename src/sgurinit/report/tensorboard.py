"""Learning curves for TensorBoard, written during training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgurinit.experiments import RunEvent


class TensorBoardCurves:
    """An event callback that writes learning curves and test scores for TensorBoard.

    Steps are epochs; the start is step 0.

    Pass it as ``on_event`` to `compare`, `train_and_test` or `Study.run`, and run ``tensorboard
    --logdir FOLDER`` to see a run for every model, arm and seed. It needs the extra
    ``sgurinit[tensorboard]``.

    Parameters
    ----------
    folder : str or Path
        Folder to write to, created if missing. Curves of resumed runs are continued.

    See Also
    --------
    sgurinit.experiments.RunEvent : The events that it receives.
    sgurinit.report.page.write_report : Write the HTML report of a comparison.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.training import TrainSettings
    >>> short = TrainSettings(max_epochs=2)
    >>> curves = TensorBoardCurves("study/tensorboard")
    >>> data = planted(200, 100)
    >>> found = compare(
    ...     data, ["bprmf"], ["random"], 1, out="study", settings=short, on_event=curves
    ... )
    >>> len(list(curves.folder.rglob("events*"))) > 0
    True
    """

    def __init__(self, folder: str | Path) -> None:
        # Imported here so that only users of this class need TensorBoard, and before a run begins.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        self._make: Any = SummaryWriter
        self.folder = Path(folder)
        self._writers: dict[str, Any] = {}

    def __call__(self, event: RunEvent) -> None:
        """Write the values of an event."""
        if event.kind == "epoch":
            self._write(event.run, "valid", event.values, event.values["epoch"])
        elif event.kind == "done":
            if "/trial-" not in event.run:
                self._write(event.run, "test", event.values, event.values["best_epoch"])
            if event.run in self._writers:
                self._writers.pop(event.run).close()

    def _write(self, run: str, split: str, values: Any, step: int) -> None:
        if run not in self._writers:
            self._writers[run] = self._make(str(self.folder / run))
        writer = self._writers[run]
        for name, value in values.items():
            if "@" in name:
                writer.add_scalar(f"{split}/{name.replace('@', '_')}", value, step)
        if split == "valid" and step > 0:
            writer.add_scalar("train/loss", values["train_loss"], step)
            writer.add_scalar("train/seconds_per_epoch", values["seconds"], step)
        writer.flush()
