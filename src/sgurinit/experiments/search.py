"""Hyper-parameter search on validation data, with the same budget for every model and arm."""

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
from sgurinit.experiments.value_lists import ValueLists, combine_spaces
from sgurinit.files import write_table
from sgurinit.resolve import resolve_initializer
from sgurinit.seeds import derive_seed

Choices = dict[tuple[str, str], Choice]
"""What the searches found, by model and arm."""


def search_chains(plan: ComparisonSettings, found: Choices) -> list[Chain]:
    """Make a chain of trials for every model and arm, followed by the runs with the best settings.

    Every model and arm has the same number of trials, or fewer if its search space is smaller. An
    arm with its own search space can therefore have more trials than one without. The arms of a
    model share the seed of the proposals. If the plan says so, a control searches around the
    settings of the arm that it controls, after that.

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
    return [
        _search(plan, model, arm, None, found)
        for model in plan.models
        for arm in plan.arms
        if plan.find_lead(arm) is None
    ]


def _search(
    plan: ComparisonSettings, model: str, arm: str, lead: Choice | None, found: Choices
) -> Chain:
    """Search, starting from the choice for the arm that `arm` controls, if there is one."""
    search = plan.search
    assert search is not None  # noqa: S101 - checked by the caller
    start = plan.run(model, arm, SEARCH_SEEDS[0])
    space = combine_spaces(search.spaces[model], search.spaces[arm])
    seed = derive_seed(0, "search", model)
    if lead is None:
        proposals = propose_settings(start, space, seed, search.trials)
    else:
        assert search.control_trials is not None  # noqa: S101 - else there is no lead
        start, space = _follow(start, space, lead)
        proposals = propose_neighbors(start, space, seed, search.control_trials)
    choice = yield from ArmSearch(space, search).run(proposals)
    found[model, arm] = choice
    controls = [
        _search(plan, model, other, choice, found)
        for other in plan.arms
        if plan.find_lead(other) == arm
    ]
    runs = [choice.apply(plan.run(model, arm, seed)) for seed in range(plan.seeds)]
    return controls + chain_runs(runs)


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
    lists = {
        field: [*values, *(value for value in lead.space.get(field, ()) if value not in values)]
        for field, values in space.items()
    }
    return start, lists


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
