"""Hyper-parameter search on validation data, with the same budget for every model and arm."""

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
from sgurinit.experiments.events import EventCallback
from sgurinit.experiments.pool import execute_runs
from sgurinit.experiments.run import RESULT_FILE
from sgurinit.experiments.settings import ComparisonSettings, RunSettings
from sgurinit.files import read_json, write_table
from sgurinit.seeds import derive_seed

_Choice = tuple[int, ...]
# If Optuna proposes known settings this many times in a row, the first untried ones are taken.
_MAX_REPEATS = 100


class Proposals:
    """Propose settings to try for one model and arm, each at most once.

    The first proposal has the settings as given, as far as they are in the search space. The first
    half of the trials is random. The second half is proposed by Optuna's tree-structured Parzen
    estimator. Proposals only depend on the seed and on the reported scores, so an interrupted
    search repeats them.

    Parameters
    ----------
    plain : RunSettings
        The run with the settings as given.
    model_space : mapping of str to sequence
        Values to choose from, by field of the model's config.
    arm_space : mapping of str to sequence
        Values to choose from, by field of the initializer.
    seed : int
        Seed of the proposals.
    trials : int
        Number of trials.
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
        self.values: dict[_Choice, float] = {}
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
        self._asked: tuple[optuna.trial.Trial, _Choice] | None = None

    def ask(self) -> RunSettings | None:
        """Propose the next trial; None if all settings have been tried."""
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
        """Report the validation score of the last proposal."""
        assert self._asked is not None  # noqa: S101 - called after ask
        trial, choice = self._asked
        self.values[choice] = value
        self._study.tell(trial, value)

    def _propose(self) -> tuple[optuna.trial.Trial, _Choice]:
        for _ in range(_MAX_REPEATS):
            trial = self._study.ask(self._distributions)
            choice = tuple(trial.params[name] for name in self._distributions)
            if choice not in self.values:
                return trial, choice
            self._study.tell(trial, self.values[choice])
        # Few settings are left, so take the first that has not been tried.
        choices = itertools.product(*(range(len(values)) for *_, values in self.fields))
        choice = next(found for found in choices if found not in self.values)
        self._study.enqueue_trial(dict(zip(self._distributions, choice, strict=True)))
        return self._study.ask(self._distributions), choice


def search_settings(
    plan: ComparisonSettings,
    dataset: Dataset,
    folder: Path,
    data_facts: Mapping[str, Any],
    *,
    jobs: int,
    on_event: EventCallback,
) -> dict[tuple[str, str], RunSettings]:
    """Try settings for every model and arm and choose the best on validation data.

    Every model and arm has the same number of trials, or fewer if its search space is smaller. An
    arm with its own search space can therefore have more trials than one without. All trials
    use the first seed that no run uses. The arms of a model share the seed of the proposals.

    Parameters
    ----------
    plan : ComparisonSettings
        A plan with a search.
    dataset : Dataset
        The data.
    folder : Path
        Folder of the comparison. Trials are executed in its folder ``trials`` and listed in
        ``trials.csv``, with columns model, arm, trial, settings (the searched fields as JSON), the
        best validation score, epochs, seconds and failed (the reason).
    data_facts : mapping
        Description of the data, see `describe_data`.
    jobs : int
        Runs at a time, see `execute_runs`.
    on_event : callable
        Called with each `RunEvent`.

    Returns
    -------
    dict
        Run of the best trial by model and arm. Of several best trials, the earliest.
    """
    assert plan.search is not None  # noqa: S101 - checked by the caller
    spaces = plan.search.spaces
    pairs = [(model, arm) for model in plan.models for arm in plan.arms]
    proposals = {
        (model, arm): Proposals(
            plan.run(model, arm, plan.seeds),
            spaces[model],
            spaces[arm],
            derive_seed(0, "search", model),
            plan.search.trials,
        )
        for model, arm in pairs
    }
    rows: list[dict[str, Any]] = []
    best: dict[tuple[str, str], tuple[float, RunSettings]] = {}
    for _ in range(plan.search.trials):
        asked = {pair: run for pair in pairs if (run := proposals[pair].ask()) is not None}
        execute_runs(
            dataset,
            list(asked.values()),
            folder / "trials",
            data_facts,
            jobs=jobs,
            on_event=on_event,
        )
        for pair, run in asked.items():
            result = read_json(folder / "trials" / run.label / RESULT_FILE)
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
