"""The settings that a search tries, each at most once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from typing import TYPE_CHECKING

from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.value_lists import ValueLists, list_neighbors, set_values
from sgurinit.seeds import make_generator

if TYPE_CHECKING:
    import optuna

Proposals = Generator[RunSettings, float, None]
"""Yields settings to try, and receives the validation score of each."""

_Choice = tuple[int, ...]
# If Optuna proposes known settings this many times in a row, the first untried ones are taken.
_MAX_REPEATS = 100


def propose_settings(given: RunSettings, space: ValueLists, seed: int, trials: int) -> Proposals:
    """Propose settings of a whole space.

    The first proposal has the settings as given, as far as they are in the space. The first half of
    the trials is random. The second half is proposed by Optuna's tree-structured Parzen estimator.
    Proposals only depend on the seed and on the scores, so an interrupted search repeats them.

    Parameters
    ----------
    given : RunSettings
        The run with the settings as given.
    space : ValueLists
        The values to choose from.
    seed : int
        Seed of the proposals.
    trials : int
        Number of proposals. If the space is smaller, all of it is proposed.

    Yields
    ------
    RunSettings
        The run with the proposed settings.
    """
    import optuna  # noqa: PLC0415 - most comparisons have no search

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=trials // 2)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        ".".join(field): optuna.distributions.CategoricalDistribution(range(len(values)))
        for field, values in space.items()
    }
    study.enqueue_trial(
        {
            ".".join(field): values.index(value)
            for field, values in space.items()
            if (value := field.read(given)) in values
        }
    )
    scores: dict[_Choice, float] = {}
    for _ in range(min(trials, math.prod(map(len, space.values())))):
        trial, choice = _ask_untried(study, distributions, space, scores)
        values = [listed[index] for listed, index in zip(space.values(), choice, strict=True)]
        scores[choice] = yield set_values(given, dict(zip(space, values, strict=True)))
        study.tell(trial, scores[choice])


def _ask_untried(
    study: optuna.Study,
    distributions: dict[str, optuna.distributions.BaseDistribution],
    space: ValueLists,
    scores: dict[_Choice, float],
) -> tuple[optuna.trial.Trial, _Choice]:
    for _ in range(_MAX_REPEATS):
        trial = study.ask(distributions)
        choice = tuple(trial.params[name] for name in distributions)
        if choice not in scores:
            return trial, choice
        study.tell(trial, scores[choice])
    # Few settings are left, so take the first that has not been tried.
    choices = itertools.product(*(range(len(values)) for values in space.values()))
    choice = next(found for found in choices if found not in scores)
    study.enqueue_trial(dict(zip(distributions, choice, strict=True)))
    return study.ask(distributions), choice


def propose_neighbors(start: RunSettings, space: ValueLists, seed: int, trials: int) -> Proposals:
    """Propose settings that differ from those of `start` in one step, in random order.

    Parameters
    ----------
    start : RunSettings
        The run with the settings to start from, which are the first proposal.
    space : ValueLists
        The values to choose from.
    seed : int
        Seed of the order.
    trials : int
        Number of proposals after the first, or fewer if there are fewer neighbors.

    Yields
    ------
    RunSettings
        The run with the proposed settings.
    """
    neighbors = list_neighbors(start, space)
    order = make_generator(seed, "neighbors").permutation(len(neighbors))
    yield start
    for at in order[:trials]:
        yield neighbors[at]
