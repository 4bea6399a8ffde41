"""The search of one model and arm: trials one after the other, finalists, edges."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from sgurinit.experiments.proposals import Proposals
from sgurinit.experiments.run import TrialResult
from sgurinit.experiments.settings import SEARCH_SEEDS, Halving, RunSettings, SearchSettings
from sgurinit.experiments.value_lists import (
    ValueLists,
    is_allowed,
    list_edges,
    next_value,
    set_values,
)

_T = TypeVar("_T")

MAX_EXTENSIONS = 8
"""Largest number of values beyond the lists that are tried for one model and arm."""


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
        winner, score = yield from self._choose_finalist()
        if self.search.extend:
            winner = yield from self._extend(winner, score)
        return Choice(winner, self.space, tuple(self.trials))

    def _try(self, run: RunSettings, floors: dict[int, float] | None = None) -> _Steps[Trial]:
        """Try settings under the next number, with the first search seed."""
        number = len({trial.run.trial for trial in self.trials})
        run = run.model_copy(update={"trial": number, "seed": SEARCH_SEEDS[0]})
        train = run.train.model_copy(update={"floors": {**run.train.floors, **(floors or {})}})
        result = yield run.model_copy(update={"train": train})
        self.trials.append(Trial(run, result))
        return self.trials[-1]

    def _score(self, trial: Trial) -> _Steps[tuple[RunSettings, float]]:
        """Return the settings of a trial and the score by which finalists are chosen."""
        if self.search.finalists == 1:
            return trial.run, trial.result.score
        again = trial.run.model_copy(update={"seed": SEARCH_SEEDS[1]})
        result = yield again
        self.trials.append(Trial(again, result))
        return trial.run, (trial.result.score + result.score) / 2

    def _choose_finalist(self) -> _Steps[tuple[RunSettings, float]]:
        """Choose from the best trials; those that were stopped are first trained to the end."""
        ranked = sorted(self.trials, key=lambda trial: -trial.result.score)
        best = [t for t in ranked if t.result.failed is None and t.result.stopped_at is None]
        finalists = best[: self.search.finalists] or ranked[:1]
        stopped = [trial for trial in ranked if trial.result.stopped_at is not None]
        for trial in stopped[: self.search.finalists - len(finalists)]:
            finalists.append((yield from self._try(trial.run)))
        winner, score = finalists[0].run, -math.inf
        for trial in finalists:
            found, of_found = yield from self._score(trial)
            if of_found > score:
                winner, score = found, of_found
        return winner, score

    def _extend(self, winner: RunSettings, score: float) -> _Steps[RunSettings]:
        """Try values beyond the edges of the lists until none is better."""
        for _ in range(MAX_EXTENSIONS):
            step = self._find_step(winner)
            if step is None:
                break
            found, of_found = yield from self._score((yield from self._try(step)))
            if of_found > score:
                winner, score = found, of_found
        return winner

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
