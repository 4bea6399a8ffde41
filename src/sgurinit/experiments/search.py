"""Hyper-parameter search on validation data, by the same rules for every model and arm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.experiments.arm_search import ArmSearch, Choice
from sgurinit.experiments.plan import is_free
from sgurinit.experiments.pool import Chain, chain_runs
from sgurinit.experiments.proposals import propose_neighbors, propose_settings
from sgurinit.experiments.settings import KIND, SEARCH_SEEDS, ComparisonSettings, RunSettings
from sgurinit.experiments.value_lists import ValueLists, add_values, combine_spaces
from sgurinit.files import write_table
from sgurinit.resolve import resolve_initializer
from sgurinit.seeds import derive_seed

Choices = dict[tuple[str, str], Choice]
"""What the searches found, by model and arm."""


def search_chains(plan: ComparisonSettings, found: Choices) -> list[Chain]:
    """Make a chain of trials for every model and arm, followed by the runs with the best settings.

    Every model and arm has the same number of trials, or fewer if its search space is smaller. An
    arm with its own search space can therefore have more trials than one without. The arms of a
    model share the seed of the proposals. If the plan says so, each then tries what the others
    chose, which takes more trials for an arm with more values of its fields, and a control searches
    around the settings of the arm that it controls, after that.

    Parameters
    ----------
    plan : ComparisonSettings
        A plan with a search.
    found : dict
        Receives the choice for each model and arm when its trials are finished.

    Returns
    -------
    list of Chain
        Without the chains of the controls, which follow others.
    """
    return [chain for model in plan.models for chain in _ModelSearch(plan, model, found).begin()]


class _ModelSearch:
    """The searches of all arms of a model.

    Parameters
    ----------
    plan : ComparisonSettings
        A plan with a search.
    model : str
        The model.
    found : dict
        Receives the choice for each arm, with that of the exchange if there is one.
    """

    def __init__(self, plan: ComparisonSettings, model: str, found: Choices) -> None:
        assert plan.search is not None  # noqa: S101 - checked by the caller
        self.plan = plan
        self.model = model
        self.found = found
        self.settings = plan.search
        self.seed = derive_seed(0, "search", model)
        self.exchanging = plan.list_exchanging()
        self.searched: dict[str, tuple[ArmSearch, Choice]] = {}
        """What each arm found before the exchange."""

    def begin(self) -> list[Chain]:
        """Make the chains of the arms that search on their own."""
        return [self._search(arm) for arm in self.plan.arms if self.plan.find_lead(arm) is None]

    def _search(self, arm: str) -> Chain:
        """Search the settings of an arm; the last arm is followed by the exchange."""
        start, space = self._start(arm)
        search = ArmSearch(space, self.settings)
        trials = self.settings.trials
        choice = yield from search.run(propose_settings(start, space, self.seed, trials))
        if arm not in self.exchanging:
            return self._conclude(arm, choice)
        self.searched[arm] = search, choice
        if len(self.searched) < len(self.exchanging):
            return []
        return [self._exchange(each) for each in self.exchanging]

    def _exchange(self, arm: str) -> Chain:
        """Try the settings that the other arms found."""
        search, choice = self.searched[arm]
        others = [self.searched[other][1] for other in self.exchanging if other != arm]
        return self._conclude(arm, (yield from search.exchange(choice, others)))

    def _control(self, arm: str, lead: Choice) -> Chain:
        """Search around what was found for the arm that `arm` controls."""
        assert self.settings.control_trials is not None  # noqa: S101 - else there is no lead
        start, space = _follow(*self._start(arm), lead)
        proposals = propose_neighbors(start, space, self.seed, self.settings.control_trials)
        choice = yield from ArmSearch(space, self.settings).run(proposals)
        return self._conclude(arm, choice)

    def _start(self, arm: str) -> tuple[RunSettings, ValueLists]:
        """Return the settings as given and the space of an arm."""
        spaces = self.settings.spaces
        start = self.plan.run(self.model, arm, SEARCH_SEEDS[0])
        return start, combine_spaces(spaces[self.model], spaces[arm])

    def _conclude(self, arm: str, choice: Choice) -> list[Chain]:
        """Note what was chosen; return the chains of the arm's controls and of its runs."""
        self.found[self.model, arm] = choice
        controls = [other for other in self.plan.arms if self.plan.find_lead(other) == arm]
        runs = [
            choice.apply(self.plan.run(self.model, arm, seed)) for seed in range(self.plan.seeds)
        ]
        return [*(self._control(other, choice) for other in controls), *chain_runs(runs)]


def _follow(start: RunSettings, space: ValueLists, lead: Choice) -> tuple[RunSettings, ValueLists]:
    """Move a control's start to what its lead has chosen, and add the lead's values to lists."""
    kind = type(resolve_initializer(start.initializer[KIND]))
    own = {
        field.name: field.read(lead.winner)
        for field in lead.space
        if field.part == "initializer" and is_free(kind, field.name)
    }
    start = start.model_copy(
        update={"config": lead.winner.config, "initializer": {**start.initializer, **own}}
    )
    return start, add_values(space, lead.space)


def write_trials(path: Path, choices: Iterable[Choice]) -> None:
    """Write all trials as a table, in their order.

    The columns are model, arm, trial, seed, settings (the searched fields as JSON), the best
    validation score, best_so_far (the highest score up to here with the first search seed), epochs,
    seconds, stopped_at (the epoch at which a poor trial was stopped) and failed (the reason).

    Parameters
    ----------
    path : Path
        The table.
    choices : iterable of Choice
        What was found for each model and arm.
    """
    rows = [row for choice in choices for row in _rows(choice)]
    write_table(path, pl.DataFrame(rows, infer_schema_length=None))


def _rows(choice: Choice) -> Sequence[dict[str, Any]]:
    scores = [result.score if run.seed == SEARCH_SEEDS[0] else 0.0 for run, result in choice.trials]
    return [
        {
            "model": run.model,
            "arm": run.arm,
            "trial": run.trial,
            "seed": run.seed,
            "settings": json.dumps(
                {field.format(run.arm): field.read(run) for field in choice.space}
            ),
            run.train.monitor: result.score,
            "best_so_far": best,
            "epochs": result.epochs,
            "seconds": result.seconds,
            "stopped_at": result.stopped_at,
            "failed": result.failed,
        }
        for (run, result), best in zip(choice.trials, accumulate(scores, max), strict=True)
    ]
