"""Progress bars in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from sgurinit._visible import make_visible

if TYPE_CHECKING:
    from sgurinit.experiments import RunEvent


@contextmanager
def show_waiting(console: Console, what: str) -> Iterator[None]:
    """Show a task and the elapsed time while a ``with`` block of unknown duration runs."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(make_visible(what), total=None)
        yield


class _Rate(ProgressColumn):
    """Progress of a stage per second."""

    @override
    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{_short(rate)}/s" if rate and (task.total or 0) > 1 else "")


def _short(number: float) -> str:
    """Write a number in five characters or fewer."""
    for limit, divisor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e3, 1e3, "k")):
        if number >= limit:
            return f"{number / divisor:.3g}{unit}"
    return f"{number:.3g}"


class _TransientBars:
    """Bars that are visible while a ``with`` block runs."""

    progress: Progress

    def __enter__(self) -> Self:
        """Show the bars."""
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bars."""
        self.progress.stop()


class StageProgress(_TransientBars):
    """A progress callback that shows a bar per stage, and prints a line after long stages.

    Parameters
    ----------
    console : Console
        Console to write to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            TaskProgressColumn("{task.percentage:3.0f} %", table_column=Column(no_wrap=True)),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.stage: tuple[str, TaskID] | None = None

    @override
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._end()
        super().__exit__(kind, error, trace)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Update the bar of a stage. With an unknown `total` (0), it ends when the next begins."""
        if self.stage is None or self.stage[0] != stage:
            self._end()
            self.stage = stage, self.progress.add_task(make_visible(stage), total=total or None)
        self.progress.update(self.stage[1], completed=done)
        if done == total and total:
            self._end()

    def _end(self) -> None:
        if self.stage is None:
            return
        stage, task = self.stage
        seconds = self.progress.tasks[self.progress.task_ids.index(task)].elapsed or 0.0
        self.progress.remove_task(task)
        self.stage = None
        if seconds < 1:
            return
        line = f"{stage:<20} {seconds:.1f} s"
        self.console.print(
            make_visible(line), markup=False, emoji=False, highlight=False, soft_wrap=True
        )


class RunProgress(_TransientBars):
    """An event callback that shows a bar per active run, and prints a line per finished run.

    The remaining time is estimated from the mean number of epochs of the finished runs, or from the
    largest possible number until a run is finished.

    Parameters
    ----------
    console : Console
        Console to write to.
    n_runs : int
        Total number of runs.
    max_epochs : int
        Largest number of epochs of a run.
    """

    def __init__(self, console: Console, n_runs: int, max_epochs: int) -> None:
        self.console = console
        self.expected = float(max_epochs)
        self.finished: list[float] = []
        self.epochs: dict[str, float] = {}
        self.kept = 0
        self.tasks: dict[str, TaskID] = {}
        self.progress = Progress(
            # In a narrow terminal, labels and bars are cut before numbers.
            TextColumn(
                "{task.description}", markup=False, table_column=Column(overflow="ellipsis")
            ),
            BarColumn(bar_width=6),
            TextColumn("{task.fields[status]}", markup=False, table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self.n_runs, self.step = n_runs, ""
        self.whole = self.progress.add_task("all runs", total=n_runs, status=f"0/{n_runs}")

    def __call__(self, event: RunEvent) -> None:
        """Show an event of a run, or of a step for all runs."""
        self.step = ""
        getattr(self, f"_{event.kind}")(event)
        done = self.kept + len(self.finished)
        part = sum(min(1.0, epochs / self.expected) for epochs in self.epochs.values())
        # A search may need more trials than planned.
        self.n_runs = max(self.n_runs, done + len(self.epochs))
        status = self.step or f"{done}/{self.n_runs} runs"
        total = self.n_runs
        self.progress.update(self.whole, total=total, completed=done + part, status=status)

    def _step(self, event: RunEvent) -> None:
        if event.run:
            self.progress.update(self.tasks[event.run], status=make_visible(event.step))
        else:
            self.step = make_visible(event.step)

    def _kept(self, event: RunEvent) -> None:
        self.kept += 1
        self._print(f"{event.run:<28} finished before")

    def _begin(self, event: RunEvent) -> None:
        self.epochs[event.run] = 0.0
        self.tasks[event.run] = self.progress.add_task(
            make_visible(event.run), total=self.expected, status=""
        )

    def _epoch(self, event: RunEvent) -> None:
        epochs = event.values["epoch"]
        self.epochs[event.run] = epochs
        rate = f" {1 / max(event.values['seconds'], 1e-9):.1f}/s," if epochs else ""
        status = f"epoch {epochs},{rate} R@20 {event.values['recall@20']:.4f}"
        self.progress.update(self.tasks[event.run], completed=epochs, status=status)

    def _done(self, event: RunEvent) -> None:
        values = event.values
        split = "valid" if "/trial-" in event.run else "test"
        self.progress.remove_task(self.tasks.pop(event.run))
        del self.epochs[event.run]
        self.finished.append(values["epochs"])
        # A trial that failed has no epochs.
        self.expected = max(1.0, sum(self.finished) / len(self.finished))
        self._print(
            f"{event.run:<28} {split} recall@20 {values['recall@20']:.4f}, "
            f"best epoch {values['best_epoch']} of {values['epochs']}, "
            f"{values['seconds']:.0f} s"
        )

    def _print(self, line: str) -> None:
        self.console.print(
            make_visible(line), markup=False, emoji=False, highlight=False, soft_wrap=True
        )
