"""Runs one after the other here, or side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
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
from sgurinit.experiments.run import EventCallback, RunEvent, execute, is_finished
from sgurinit.experiments.settings import RunSettings
from sgurinit.runtime import available_cores, children_ignore_interrupts, keep_freed_memory


def execute_all(
    dataset: Dataset,
    runs: Sequence[RunSettings],
    folder: Path,
    facts: Mapping[str, Any],
    *,
    jobs: int,
    on_event: EventCallback,
) -> None:
    """Bring every run under `folder` to its end.

    Parameters
    ----------
    dataset, runs, facts, on_event
        See `execute`.
    folder
        Each run has the folder of its label in it.
    jobs
        Runs at a time. With one they run in this process, on all of its threads; with more each has
        a process of its own and its share of the cores, at least one, even if it is the only one
        left: the number of threads decides on the last digits.

    Raises
    ------
    InputError
        `jobs` is below 1, a run cannot be done, or a process was killed.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    finished = [run for run in runs if is_finished(folder / run.label)]
    pending = [run for run in runs if run not in finished]
    for run in runs if jobs == 1 else finished:
        execute(dataset, run, folder / run.label, facts, on_event)
    if jobs == 1 or not pending:
        return
    # Read-only mappings do not travel between processes, their content does.
    parts = {f.name: getattr(dataset, f.name) for f in fields(dataset)}
    parts["features"] = dict(dataset.features)
    work = (parts, folder, dict(facts), max(1, available_cores() // jobs))
    _Workers(min(jobs, len(pending)), work).run(pending, on_event)


class _Workers:
    """Processes that ask for runs until none is left.

    They are killed when this one stops for whatever reason: a run is safe to kill at any moment.
    """

    def __init__(self, n: int, work: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self.links: dict[Connection, BaseProcess] = {}
        with children_ignore_interrupts():
            for _ in range(n):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, *work), daemon=True)
                process.start()
                theirs.close()
                self.links[ours] = process

    def run(self, pending: Sequence[RunSettings], on_event: EventCallback) -> None:
        left = list(reversed(pending))
        try:
            while self.links:
                for link in wait(list(self.links)):
                    assert isinstance(link, Connection)  # noqa: S101 - nothing else was put in
                    self._hear(link, left, on_event)
        finally:
            for process in self.links.values():
                process.kill()
                process.join()

    def _hear(self, link: Connection, left: list[RunSettings], on_event: EventCallback) -> None:
        try:
            message = link.recv()
        except EOFError:
            raise InputError(
                "a worker process died (the last log.txt says where), perhaps for want of memory; "
                "start again with fewer jobs to go on"
            ) from None
        if isinstance(message, RunEvent):
            on_event(message)
        elif isinstance(message, InputError):
            raise message
        elif left:
            link.send(left.pop())
        else:
            link.send(None)
            self.links.pop(link).join()


def _serve(
    link: Connection, parts: dict[str, Any], folder: Path, facts: dict[str, Any], threads: int
) -> None:
    """Do one run after the other as they come over `link`, None being the end."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        try:
            dataset = Dataset(**parts)
            link.send(None)
            while (run := link.recv()) is not None:
                execute(dataset, run, folder / run.label, facts, link.send)
                link.send(None)
        except InputError as error:
            link.send(error)


def _end_with_parent() -> None:
    """End this process when its parent is gone, so that nobody else writes to its folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
