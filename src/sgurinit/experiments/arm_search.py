"""The search of one model and arm: trials one after the other, finalists, edges, exchange."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from sgurinit.experiments.proposals import Proposals
from sgurinit.experiments.run import TrialResult
from sgurinit.experiments.settings import SEARCH_SEEDS, Halving, RunSettings, SearchSettings
from sgurinit.experiments.value_lists import (
    ValueLists,
    add_values,
    is_allowed,
    list_changes,
    list_edges,
    next_value,
    set_values,
)

_T = TypeVar("_T")

MAX_EXTENSIONS = 8
"""Largest number of values beyond the lists that are tried after a search or an exchange."""


class Trial(NamedTuple):
    """A finished trial."""

    run: RunSettings
    """Its settings."""
    result: TrialResult
    """Its scores."""


class Choice(NamedTuple):
    """What the search of one model and arm found."""

    winner: RunSettings
    """The best trial."""
    score: float
    """Its validation score, over both seeds if there are finalists; minus infinity if it failed."""
    space: ValueLists
    """The values to choose from, with those that were added at the edges."""
    trials: Sequence[Trial]
    """All trials, in their order."""

    def apply(self, run: RunSettings) -> RunSettings:
        """Return `run` with the settings of the winner."""
        chosen = {"config": self.winner.config, "initializer": self.winner.initializer}
        return run.model_copy(update=chosen)

    def list_edges(self) -> list[str]:
        """Name the fields in which the winner has the smallest or largest value of a list.

        Fields whose range ends there are left out.
        """
        return [field.format(self.winner.arm) for field in list_edges(self.winner, self.space)]


_Steps: TypeAlias = Generator[RunSettings, TrialResult, _T]


class ArmSearch:
    """Search the settings of one model and arm.

    Parameters
    ----------
    space : ValueLists
        The values to choose from. It is not changed.
    search : SearchSettings
        Settings of the search.
    """

    def __init__(self, space: ValueLists, search: SearchSettings) -> None:
        self.space: ValueLists = {field: list(values) for field, values in space.items()}
        self.search = search
        self.trials: list[Trial] = []

    def run(self, proposals: Proposals) -> _Steps[Choice]:
        """Try all proposals, then the finalists again, then values beyond the edges.

        Parameters
        ----------
        proposals : Proposals
            The settings to try.

        Yields
        ------
        RunSettings
            The next trial. Its result must be sent.

        Returns
        -------
        Choice
            The best settings. Of several, the earliest.
        """
        proposed: RunSettings | None = next(proposals)
        while proposed is not None:
            earlier = [trial.result for trial in self.trials]
            trial = yield from self._try(proposed, find_floors(self.search.halving, earlier))
            proposed = _send(proposals, trial.result.score)
        finalists = yield from self._list_finalists()
        return (yield from self._choose(finalists[0].run, -math.inf, finalists))

    def exchange(self, own: Choice, others: Sequence[Choice]) -> _Steps[Choice]:
        """Try the model's settings that other arms chose, after `run`.

        Each is tried with what this arm chose for its own fields, and with every other value of one
        of them, unless that was tried to its end before. These trials are not stopped early. The
        best of them compete with the winner of `run`.

        Parameters
        ----------
        own : Choice
            What `run` found.
        others : sequence of Choice
            What it found for the other arms of the model.

        Yields
        ------
        RunSettings
            The next trial. Its result must be sent.

        Returns
        -------
        Choice
            The best settings. Of several, the earliest.
        """
        before = len(self.trials)
        for run in self._list_exchanged(own, others):
            yield from self._try(run)
        for other in others:
            # Not its whole lists: this arm may be better beyond a value that the other rejected.
            taken = {f: [f.read(other.winner)] for f in other.space if f.part == "config"}
            self.space = add_values(self.space, taken)
        best = [t for t in _rank(self.trials[before:]) if t.result.failed is None]
        return (yield from self._choose(own.winner, own.score, best[: self.search.finalists]))

    def _list_exchanged(self, own: Choice, others: Sequence[Choice]) -> list[RunSettings]:
        tried = [trial.run for trial in self.trials if trial.result.stopped_at is None]
        of_arm = {f: values for f, values in self.space.items() if f.part == "initializer"}
        found: list[RunSettings] = []
        for other in others:
            start = own.winner.model_copy(update={"config": other.winner.config})
            runs = [start, *list_changes(start, of_arm)]
            found += [run for run in runs if not _is_in(run, [*tried, *found])]
        return found

    def _try(self, run: RunSettings, floors: dict[int, float] | None = None) -> _Steps[Trial]:
        """Try settings under the next number, with the first search seed."""
        number = len({trial.run.trial for trial in self.trials})
        run = run.model_copy(update={"trial": number, "seed": SEARCH_SEEDS[0]})
        train = run.train.model_copy(update={"floors": {**run.train.floors, **(floors or {})}})
        result = yield run.model_copy(update={"train": train})
        self.trials.append(Trial(run, result))
        return self.trials[-1]

    def _list_finalists(self) -> _Steps[list[Trial]]:
        """List the best trials; those that were stopped are first trained to the end."""
        ranked = _rank(self.trials)
        best = [t for t in ranked if t.result.failed is None and t.result.stopped_at is None]
        finalists = best[: self.search.finalists] or ranked[:1]
        stopped = [trial for trial in ranked if trial.result.stopped_at is not None]
        for trial in stopped[: self.search.finalists - len(finalists)]:
            finalists.append((yield from self._try(trial.run)))
        return finalists

    def _choose(
        self, winner: RunSettings, score: float, finalists: Sequence[Trial]
    ) -> _Steps[Choice]:
        """Choose from a winner and finalists, then from values beyond the edges of the best."""
        for trial in finalists:
            of_trial = yield from self._score(trial)
            if of_trial > score:
                winner, score = trial.run, of_trial
        for _ in range(MAX_EXTENSIONS if self.search.extend else 0):
            step = self._find_step(winner)
            if step is None:
                break
            of_step = yield from self._score((yield from self._try(step)))
            if of_step > score:
                winner, score = step, of_step
        return Choice(winner, score, self.space, tuple(self.trials))

    def _score(self, trial: Trial) -> _Steps[float]:
        """Return the score by which a trial is chosen: its mean over both seeds, if they count."""
        if trial.result.failed is not None:
            return -math.inf
        if self.search.finalists == 1:
            return trial.result.score
        again = trial.run.model_copy(update={"seed": SEARCH_SEEDS[1]})
        result = yield again
        self.trials.append(Trial(again, result))
        return (trial.result.score + result.score) / 2

    def _find_step(self, winner: RunSettings) -> RunSettings | None:
        """Add the first value beyond an edge to its list; None if there is none.

        Where a whole step would leave the field's range, a half or a quarter of it is taken.
        """
        for field, values in self.space.items():
            for value in _list_steps(values, field.read(winner)):
                if is_allowed(step := set_values(winner, {field: value})):
                    values.append(value)
                    return step
        return None


def _rank(trials: Sequence[Trial]) -> list[Trial]:
    """Sort trials by their score, the best first. Of equals, the earliest is first."""
    return sorted(trials, key=lambda trial: -trial.result.score)


def _is_in(run: RunSettings, runs: Sequence[RunSettings]) -> bool:
    """Whether a run with the same settings is among others."""
    return any((run.config, run.initializer) == (r.config, r.initializer) for r in runs)


def _list_steps(values: Sequence[Any], value: Any) -> list[float | int]:
    """List what may follow `value` at the edge of a list: the next value, then smaller steps."""
    found = next_value(values, value)
    if found is None:
        return []
    if isinstance(found, int):
        return [found]
    return [found, *(float(f"{value + (found - value) * part:.6g}") for part in (0.5, 0.25))]


def _send(proposals: Proposals, score: float) -> RunSettings | None:
    """Report a score and return the next proposal; None at the end."""
    try:
        return proposals.send(score)
    except StopIteration:
        return None


def find_floors(halving: Halving | None, earlier: Sequence[TrialResult]) -> dict[int, float]:
    """Find the scores that a trial must have reached at some epochs to continue.

    It must be among the best `keep` of the earlier trials that came to that epoch and itself.

    Parameters
    ----------
    halving : Halving or None
        The epochs and the share that continues. None: no trial is stopped.
    earlier : sequence of TrialResult
        The earlier trials of the same model and arm.

    Returns
    -------
    dict
        The lowest best-so-far validation score by epoch, see `TrainSettings`.
    """
    floors: dict[int, float] = {}
    if halving is None:
        return floors
    for epoch in halving.epochs:
        scores = [trial.best_so_far[epoch] for trial in earlier if len(trial.best_so_far) > epoch]
        # Rounded, because 0.7 * 10 is slightly more than 7.
        going_on = math.ceil(round(halving.keep * (len(scores) + 1), 9))
        if going_on <= len(scores):
            floors[epoch] = sorted(scores, reverse=True)[going_on - 1]
    return floors
