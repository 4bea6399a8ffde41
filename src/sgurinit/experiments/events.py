"""Progress events of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class RunEvent:
    """A progress report of a run, as passed to ``on_event``.

    Attributes
    ----------
    run : str
        Label of the run, such as ``"lightgcn/random/seed-0"``; empty for work that is done once for
        all runs.
    kind : {"kept", "begin", "step", "epoch", "done"}
        ``"kept"``: the run was finished earlier. ``"begin"``: it begins or resumes. ``"step"``:
        other work, named in `step`. ``"epoch"``: the start is ranked (epoch 0), or an epoch is
        over. ``"done"``: the run is finished.
    values : mapping of str to float
        For ``"epoch"`` the row of that epoch, see `Trained`; the start's ``train_loss`` is None.
        For ``"done"`` the test metrics (for a trial of a search the validation metrics),
        ``best_epoch``, ``epochs`` and ``seconds``.
    step : str
        What is being done, for ``"step"``.

    See Also
    --------
    compare : Reports events of its runs.
    sgurinit.report.tensorboard.TensorBoardCurves : Writes events for TensorBoard.

    Examples
    --------
    >>> from sgurinit.experiments import RunEvent
    >>> RunEvent("lightgcn/random/seed-0", "epoch", {"recall@20": 0.1}).values["recall@20"]
    0.1
    """

    run: str
    kind: Literal["kept", "begin", "step", "epoch", "done"]
    values: Mapping[str, Any] = field(default_factory=dict)
    step: str = ""


EventCallback = Callable[[RunEvent], None]


def no_event(event: RunEvent) -> None:
    """Ignore `event`."""
