"""Execute runs one after the other in this process, or in parallel in worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import fields
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

import torch
from threadpoolctl import threadpool_limits

from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments.cards import DeviceShare, measure_model, share_devices
from sgurinit.experiments.events import EventCallback, RunEvent
from sgurinit.experiments.run import TrialResult, execute_run, is_finished, read_trial
from sgurinit.experiments.settings import RunSettings
from sgurinit.models.resolver import register_model
from sgurinit.resolve import resolve_config, resolve_model
from sgurinit.runtime import (
    children_ignore_interrupts,
    count_cores,
    keep_freed_memory,
    run_as_worker,
)
from sgurinit.training import Machine
from sgurinit.training.run import build_model
from sgurinit.training.workers import import_class, locate_class, receive, send

Chain: TypeAlias = Generator[RunSettings, TrialResult, Sequence["Chain"]]
"""Runs that depend on each other: yields a run, receives its result, and so on.

At the end it returns the chains that may begin after it, of the same model.
"""

_SERVE = f"{__name__}:_serve"


def chain_runs(runs: Iterable[RunSettings]) -> list[Chain]:
    """Make a chain of each run, for runs that do not depend on each other."""

    def chain(run: RunSettings) -> Chain:
        yield run
        return ()

    return [chain(run) for run in runs]


def execute_chains(
    dataset: Dataset,
    chains: Sequence[Chain],
    folder: Path,
    data_facts: Mapping[str, Any],
    *,
    jobs: int,
    machine: Machine,
    on_event: EventCallback,
    only: Collection[str] | None = None,
) -> None:
    """Execute every run of the chains that is not finished.

    A free worker gets the next run of any chain, trials before other runs. Chains only depend on
    what those before them have returned, so their runs depend neither on `jobs` nor on the order in
    which runs end.

    Parameters
    ----------
    dataset : Dataset
        The data.
    chains : sequence of Chain
        The chains.
    folder : Path
        Folder of the comparison, which contains those of the runs.
    data_facts : mapping
        Description of the data, see `describe_data`.
    jobs : int
        Runs at a time. With 1 they run in this process and use all of its threads. With more, each
        runs in a worker process with an equal share of the cores, even if it is the only run left,
        because the last digits of the results depend on the number of threads.
    machine : Machine
        The device of the runs. Several CUDA devices get equal numbers of workers. Workers on the
        same device have equal shares of its free memory.
    on_event : callable
        Called with each `RunEvent`.
    only : collection of str or None, default None
        Names of the models whose runs are executed. Of others, only finished runs are taken. None:
        all models.

    Raises
    ------
    InputError
        A run fails, a finished run has other settings, a worker process died or cannot import a
        model's class, or too many runs at a time are asked of a CUDA device.
    """

    def execute(run: RunSettings) -> None:
        execute_run(dataset, run, folder / run.path, data_facts, on_event, machine=machine)

    schedule = _Schedule(chains, folder, execute, only)
    if jobs > 1 and schedule.waiting:
        # A read-only mapping cannot be pickled, but its content can.
        parts = {f.name: getattr(dataset, f.name) for f in fields(dataset)}
        parts["features"] = dict(dataset.features)
        waiting = [run for _, run in schedule.waiting]
        models = _locate_models(waiting)
        shares = share_devices(machine, jobs, lambda: _measure_models(dataset, waiting))
        work = (parts, dict(data_facts), models, folder, max(1, count_cores() // jobs))
        _Workers(shares, work).run(schedule, on_event)
    while schedule.waiting:
        chain, run = schedule.take()
        execute(run)
        schedule.go_on(chain, run)


class _Schedule:
    """The runs that can be executed now, with the chains that they belong to.

    Finished runs are passed to their chains at once: `execute` checks their settings.
    """

    def __init__(
        self,
        chains: Iterable[Chain],
        folder: Path,
        execute: Callable[[RunSettings], None],
        only: Collection[str] | None,
    ) -> None:
        self.folder = folder
        self.execute = execute
        self.only = only
        self.waiting: list[tuple[Chain, RunSettings]] = []
        for chain in chains:
            self.go_on(chain, None)

    def take(self) -> tuple[Chain, RunSettings]:
        """Take the next run: the first trial, or the first run if there is no trial."""
        trials = (at for at, (_, run) in enumerate(self.waiting) if run.trial is not None)
        return self.waiting.pop(next(trials, 0))

    def go_on(self, chain: Chain, run: RunSettings | None) -> None:
        """Pass the result of a finished run to its chain, None at first, and note the next run."""
        following = self._ask(chain, run)
        while following is not None and is_finished(self.folder / following.path):
            self.execute(following)
            following = self._ask(chain, following)
        if following is not None and (self.only is None or following.model in self.only):
            self.waiting.append((chain, following))

    def _ask(self, chain: Chain, run: RunSettings | None) -> RunSettings | None:
        """Return the next run of a chain. If there is none, begin those that follow it."""
        try:
            if run is None:
                return next(chain)
            return chain.send(read_trial(self.folder / run.path, run.train.monitor))
        except StopIteration as end:
            for follower in end.value:
                self.go_on(follower, None)
            return None


class _Workers:
    """Worker processes that are started when there are runs for them.

    They are killed when this process stops for any reason. A run can be killed safely at any time.

    Parameters
    ----------
    shares : sequence of DeviceShare
        The device of each process; there are not more processes than these.
    work : tuple
        What all runs share, see `_serve`.
    """

    def __init__(self, shares: Sequence[DeviceShare], work: tuple[Any, ...]) -> None:
        self.shares = shares
        self.work = work
        self.links: dict[Connection, BaseProcess] = {}
        self.idle: list[Connection] = []
        self.busy: dict[Connection, tuple[Chain, RunSettings]] = {}

    def run(self, schedule: _Schedule, on_event: EventCallback) -> None:
        """Execute all runs of a schedule."""
        try:
            while schedule.waiting or self.busy:
                self._assign(schedule)
                for link in wait(list(self.busy)):
                    assert isinstance(link, Connection)  # noqa: S101 - only connections were added
                    self._receive(link, schedule, on_event)
            for link, process in self.links.items():
                send(link, None)
                process.join()
        finally:
            for process in self.links.values():
                process.kill()
                process.join()

    def _assign(self, schedule: _Schedule) -> None:
        """Give each free worker a run, and start workers for the runs that are left."""
        missing = len(schedule.waiting) - len(self.idle)
        self.idle += self._start(min(missing, len(self.shares) - len(self.links)))
        while schedule.waiting and self.idle:
            chain, run = schedule.take()
            link = self.idle.pop()
            self.busy[link] = chain, run
            send(link, run)

    def _start(self, n: int) -> list[Connection]:
        context = multiprocessing.get_context("spawn")
        started, first = [], len(self.links)
        with children_ignore_interrupts():
            for _ in range(n):
                ours, theirs = context.Pipe()
                process = context.Process(target=run_as_worker, args=(_SERVE, theirs), daemon=True)
                process.start()
                theirs.close()
                self.links[ours] = process
                started.append(ours)
        for link, share in zip(started, self.shares[first:], strict=False):
            send(link, (*self.work, share))
        return started

    def _receive(self, link: Connection, schedule: _Schedule, on_event: EventCallback) -> None:
        message = receive(link)
        if isinstance(message, RunEvent):
            on_event(message)
        else:
            self.idle.append(link)
            schedule.go_on(*self.busy.pop(link))


def _locate_models(runs: Sequence[RunSettings]) -> list[str]:
    """Return where the models' classes are imported from."""
    models = [resolve_model(name) for name in {run.model: None for run in runs}]
    return [locate_class(model, "model") for model in models]


def _measure_models(dataset: Dataset, runs: Iterable[RunSettings]) -> dict[str, int]:
    """Measure what a run of each model needs, with the largest width of its runs."""
    largest = {run.model: run for run in sorted(runs, key=lambda run: run.config["width"])}
    found = {}
    for name, run in largest.items():
        kind = resolve_model(name)
        model = build_model(kind, dataset, resolve_config(kind, run.config), seed=0)
        found[name] = measure_model(model)
    return found


def _serve(link: Connection) -> None:
    """Execute the runs that are received from `link`, until None is received.

    First come what all of them share: the fields of the data set, the description of the data, the
    places of the models' classes, the folder, the number of threads and the share of a device.
    """
    keep_freed_memory()
    parts, data_facts, models, folder, threads, share = link.recv()
    machine = Machine(device=share.device)
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        try:
            share.enforce()
            for place in models:
                register_model(import_class(place, "model"))
            dataset = Dataset(**parts)
            while (run := link.recv()) is not None:
                execute_run(dataset, run, folder / run.path, data_facts, link.send, machine=machine)
                link.send(None)
        except InputError as error:
            link.send(error)
