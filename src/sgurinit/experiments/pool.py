"""Execute runs one after the other in this process, or in parallel in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import fields
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments.events import EventCallback, RunEvent
from sgurinit.experiments.run import execute_run, is_finished
from sgurinit.experiments.settings import RunSettings
from sgurinit.models.resolver import register_model
from sgurinit.resolve import resolve_model
from sgurinit.runtime import children_ignore_interrupts, count_cores, keep_freed_memory


def execute_runs(
    dataset: Dataset,
    runs: Sequence[RunSettings],
    folder: Path,
    data_facts: Mapping[str, Any],
    *,
    jobs: int,
    on_event: EventCallback,
) -> None:
    """Execute every run that is not finished.

    Parameters
    ----------
    dataset : Dataset
        The data.
    runs : sequence of RunSettings
        The runs.
    folder : Path
        Folder that contains the folders of the runs, each named by its label.
    data_facts : mapping
        Description of the data, see `describe_data`.
    jobs : int
        Runs at a time. With 1 they run in this process and use all of its threads. With more, each
        runs in a worker process with an equal share of the cores, even if it is the only run left,
        because the last digits of the results depend on the number of threads.
    on_event : callable
        Called with each `RunEvent`.

    Raises
    ------
    InputError
        `jobs` is below 1, a run fails, or a worker process died or cannot import a model's class.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    finished = [run for run in runs if is_finished(folder / run.label)]
    pending = [run for run in runs if run not in finished]
    for run in runs if jobs == 1 else finished:
        execute_run(dataset, run, folder / run.label, data_facts, on_event)
    if jobs == 1 or not pending:
        return
    # A read-only mapping cannot be pickled, but its content can.
    parts = {f.name: getattr(dataset, f.name) for f in fields(dataset)}
    parts["features"] = dict(dataset.features)
    models = _check_importable(pending)
    work = (parts, dict(data_facts), models, folder, max(1, count_cores() // jobs))
    _Workers(min(jobs, len(pending))).run(work, pending, on_event)


class _Workers:
    """Worker processes that request runs until none is left.

    They are killed when this process stops for any reason. A run can be killed safely at any time.
    """

    def __init__(self, n: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.links: dict[Connection, BaseProcess] = {}
        with children_ignore_interrupts():
            for _ in range(n):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                self.links[ours] = process

    def run(
        self, work: tuple[Any, ...], pending: Sequence[RunSettings], on_event: EventCallback
    ) -> None:
        """Execute runs. `work` is what all of them share, see `_serve`."""
        left = list(reversed(pending))
        try:
            for worker in self.links:
                _send(worker, work)
            while self.links:
                for link in wait(list(self.links)):
                    assert isinstance(link, Connection)  # noqa: S101 - only connections were added
                    self._receive(link, left, on_event)
        finally:
            for process in self.links.values():
                process.kill()
                process.join()

    def _receive(self, link: Connection, left: list[RunSettings], on_event: EventCallback) -> None:
        try:
            message = link.recv()
        except (EOFError, OSError):
            raise _dead_worker() from None
        if isinstance(message, RunEvent):
            on_event(message)
        elif isinstance(message, InputError):
            raise message
        elif left:
            _send(link, left.pop())
        else:
            _send(link, None)
            self.links.pop(link).join()


def _send(link: Connection, message: Any) -> None:
    try:
        link.send(message)
    except OSError:
        raise _dead_worker() from None


def _dead_worker() -> InputError:
    return InputError(
        "a worker process died, perhaps because memory ran out (see the latest log.txt), or "
        'because a script has no `if __name__ == "__main__":` around its code; run again with '
        "fewer jobs to resume"
    )


def _check_importable(runs: Sequence[RunSettings]) -> list[str]:
    """Return where the models' classes are imported from. A new process only knows the library."""
    models = [resolve_model(name) for name in {run.model: None for run in runs}]
    places = [f"{model.__module__}:{model.__qualname__}" for model in models]
    for place, model in zip(places, models, strict=True):
        if _import_class(place) is not model:
            raise _not_importable(place)
    return places


def _import_class(place: str) -> Any:
    try:
        return pkgutil.resolve_name(place)
    except Exception:  # importing a module can raise anything
        raise _not_importable(place) from None


def _not_importable(place: str) -> InputError:
    return InputError(
        f"a worker process cannot import the model {place}; define it at the top level of a module "
        "(a .py file), or use jobs=1"
    )


def _serve(link: Connection) -> None:
    """Execute the runs that are received from `link`, until None is received.

    First come what all of them share: the fields of the data set, the description of the data, the
    places of the models' classes, the folder and the number of threads.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    parts, data_facts, models, folder, threads = link.recv()
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        try:
            for place in models:
                register_model(_import_class(place))
            dataset = Dataset(**parts)
            link.send(None)
            while (run := link.recv()) is not None:
                execute_run(dataset, run, folder / run.label, data_facts, link.send)
                link.send(None)
        except InputError as error:
            link.send(error)


def _end_with_parent() -> None:
    """Exit when the parent process is gone, so that no orphan keeps writing to the folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
