"""Settings chosen on validation data, with up to the same number of trials per model and arm."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import polars as pl

from sgurinit.data import Dataset
from sgurinit.experiments.pool import execute_all
from sgurinit.experiments.run import RESULT, EventCallback
from sgurinit.experiments.settings import ComparisonSettings, RunSettings
from sgurinit.files import read_json, write_table
from sgurinit.seeds import derive

Choice = tuple[int, ...]
REPEATS = 100  # proposals already tried that are answered from memory before one is drawn


class Proposals:
    """Settings to try for one model and arm, one after the other, none of them twice.

    The first are the settings as given, in the fields whose space holds them; then random ones, and
    from half of the trials on Optuna's tree-structured Parzen estimator proposes. What it proposes
    follows from the seed and the values reported alone, so a search that was interrupted proposes
    the same again.

    Parameters
    ----------
    plain
        The run with the settings as given.
    model_space, arm_space
        Values to choose from, by field of the model's config and of the initializer.
    seed
        Seed of the proposals.
    trials
        How many are wanted.
    """

    def __init__(
        self,
        plain: RunSettings,
        model_space: Mapping[str, Sequence[Any]],
        arm_space: Mapping[str, Sequence[Any]],
        seed: int,
        trials: int,
    ) -> None:
        self.plain = plain
        self.fields = [("config", field, list(values)) for field, values in model_space.items()]
        self.fields += [("initializer", field, list(values)) for field, values in arm_space.items()]
        self.size = math.prod(len(values) for *_, values in self.fields)
        self.values: dict[Choice, float] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=trials // 2)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            f"{part}.{field}": optuna.distributions.CategoricalDistribution(range(len(values)))
            for part, field, values in self.fields
        }
        given = {
            f"{part}.{field}": values.index(value)
            for part, field, values in self.fields
            if (value := getattr(plain, part)[field]) in values
        }
        self._study.enqueue_trial(given)
        self._asked: tuple[optuna.trial.Trial, Choice] | None = None

    def ask(self) -> RunSettings | None:
        """Propose the next trial; None where everything has been tried."""
        if len(self.values) == self.size:
            return None
        trial, choice = self._propose()
        self._asked = trial, choice
        changed: dict[str, dict[str, Any]] = {
            part: dict(getattr(self.plain, part)) for part in ("config", "initializer")
        }
        for (part, field, values), index in zip(self.fields, choice, strict=True):
            changed[part][field] = values[index]
        return self.plain.model_copy(update={**changed, "trial": len(self.values)})

    def tell(self, value: float) -> None:
        """Report the validation score of the settings last asked for."""
        assert self._asked is not None  # noqa: S101 - asked before
        trial, choice = self._asked
        self.values[choice] = value
        self._study.tell(trial, value)

    def _propose(self) -> tuple[optuna.trial.Trial, Choice]:
        for _ in range(REPEATS):
            trial = self._study.ask(self._distributions)
            choice = tuple(trial.params[name] for name in self._distributions)
            if choice not in self.values:
                return trial, choice
            self._study.tell(trial, self.values[choice])
        # Little is left that is new, so the first of it will do.
        choices = itertools.product(*(range(len(values)) for *_, values in self.fields))
        choice = next(found for found in choices if found not in self.values)
        self._study.enqueue_trial(dict(zip(self._distributions, choice, strict=True)))
        return self._study.ask(self._distributions), choice


def search(
    plan: ComparisonSettings,
    dataset: Dataset,
    folder: Path,
    facts: Mapping[str, Any],
    *,
    jobs: int,
    on_event: EventCallback,
) -> dict[tuple[str, str], RunSettings]:
    """Try settings for every model and arm and keep the best on validation data.

    Every model and arm has the same number of trials, fewer only where its space holds fewer
    settings: an arm with a space of its own can then have more than one without. All trials use the
    first seed that no run uses. The arms of a model share the seed of the proposals.

    Parameters
    ----------
    plan
        A plan with a search.
    dataset, facts, jobs, on_event
        See `execute_all`.
    folder
        Trials are run in ``trials`` in it, ``trials.csv`` lists them: model, arm, trial, the
        searched fields as JSON, best validation score, epochs, seconds, why it failed.

    Returns
    -------
    dict
        The best trial's run by model and arm, the earliest among equals.
    """
    assert plan.search is not None  # noqa: S101 - the caller's plan has one
    spaces = plan.search.spaces
    pairs = [(model, arm) for model in plan.models for arm in plan.arms]
    proposals = {
        (model, arm): Proposals(
            plan.run(model, arm, plan.seeds),
            spaces[model],
            spaces[arm],
            derive(0, "search", model),
            plan.search.trials,
        )
        for model, arm in pairs
    }
    rows: list[dict[str, Any]] = []
    best: dict[tuple[str, str], tuple[float, RunSettings]] = {}
    for _ in range(plan.search.trials):
        asked = {pair: run for pair in pairs if (run := proposals[pair].ask()) is not None}
        execute_all(
            dataset, list(asked.values()), folder / "trials", facts, jobs=jobs, on_event=on_event
        )
        for pair, run in asked.items():
            result = read_json(folder / "trials" / run.label / RESULT)
            score = result["valid"][plan.train.monitor]
            proposals[pair].tell(score)
            rows.append(_row(run, [*spaces[pair[0]]], [*spaces[pair[1]]], result, score))
            if pair not in best or score > best[pair][0]:
                best[pair] = score, run
    order = {pair: position for position, pair in enumerate(pairs)}
    rows.sort(key=lambda row: (order[row["model"], row["arm"]], row["trial"]))
    write_table(folder / "trials.csv", pl.DataFrame(rows))
    return {pair: best[pair][1] for pair in pairs}


def _row(
    run: RunSettings,
    of_model: Sequence[str],
    of_arm: Sequence[str],
    result: Mapping[str, Any],
    score: float,
) -> dict[str, Any]:
    settings = {field: run.config[field] for field in of_model}
    settings |= {f"{run.arm}.{field}": run.initializer[field] for field in of_arm}
    return {
        "model": run.model,
        "arm": run.arm,
        "trial": run.trial,
        "settings": json.dumps(settings),
        run.train.monitor: score,
        "epochs": result["epochs"],
        "seconds": result["seconds"],
        "failed": result.get("failed"),
    }
