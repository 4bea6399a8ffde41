"""The settings of runs and comparisons, with every field written out."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sgurinit.arms import Initializer
from sgurinit.resolve import resolve_initializer
from sgurinit.training import TrainSettings

Fields = dict[str, Any]
KIND = "kind"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunSettings(_Frozen):
    """Settings of one training run: one model, one arm and one seed.

    Parameters
    ----------
    model : str
        Name of the model.
    config : dict
        Every field of the model's config.
    arm : str
        Name of the arm.
    initializer : dict
        ``kind``, the name of the initializer, and every field of it.
    seed : int
        Seed of everything random, at least 0.
    trial : int or None, default None
        Number of the trial, if the run is a trial of a search. A trial does not read test data.
    train : TrainSettings
        Settings of the training loop.
    mask_valid : bool
        Exclude validation items from the test ranking.

    See Also
    --------
    ComparisonSettings : Settings of all runs of a comparison.

    Examples
    --------
    >>> from sgurinit.experiments import comparison_settings
    >>> run = comparison_settings(["lightgcn"], ["random"], 1).run("lightgcn", "random", 0)
    >>> run.label, run.config["n_layers"]
    ('lightgcn/random/seed-0', 2)
    """

    model: str = Field(description="Name of the model.")
    config: Fields = Field(description="Every field of the model's config.")
    arm: str = Field(description="Name of the arm.")
    initializer: Fields = Field(description="Kind of the initializer and every field of it.")
    seed: int = Field(ge=0, description="Seed of everything random.")
    trial: int | None = Field(
        default=None, ge=0, description="Number of the trial of a search, which reads no test data."
    )
    train: TrainSettings = Field(description="Settings of the training loop.")
    mask_valid: bool = Field(description="Exclude validation items from the test ranking.")

    @property
    def label(self) -> str:
        """Name of the run and path of its folder, such as ``"lightgcn/random/seed-0"``."""
        last = f"seed-{self.seed}" if self.trial is None else f"trial-{self.trial}"
        return f"{self.model}/{self.arm}/{last}"

    def for_seed(self, seed: int) -> RunSettings:
        """Turn the settings of a trial into those of a run with `seed`."""
        return self.model_copy(update={"seed": seed, "trial": None})

    def make_initializer(self) -> Initializer:
        """Construct the initializer of the arm."""
        fields = dict(self.initializer)
        return resolve_initializer(fields.pop(KIND), fields)


class SearchSettings(_Frozen):
    """Settings of a search on validation data. Every arm of a model has the same budget."""

    trials: int = Field(ge=1, description="Number of trials per model and arm.")
    spaces: dict[str, dict[str, tuple[Any, ...]]] = Field(
        description="Values to choose from, by model or arm and by field."
    )


class ComparisonSettings(_Frozen):
    """Settings of a comparison: models, arms and seeds, with every field of each.

    Default values are included. So a folder that was begun by a version with other defaults is
    not resumed with the new ones unnoticed.

    Parameters
    ----------
    models : dict
        Every field of the config of each model, by name.
    arms : dict
        ``kind``, the name of the initializer, and every field of it, by the name of the arm.
    seeds : int
        Number of seeds, which are 0, 1, ...
    train : TrainSettings
        Settings of the training loop.
    mask_valid : bool
        Exclude validation items from the test ranking.
    search : SearchSettings or None, default None
        Settings of the search. None: no search.

    See Also
    --------
    comparison_settings : Make these settings from names and single fields.
    RunSettings : Settings of one run.

    Examples
    --------
    >>> from sgurinit.experiments import comparison_settings
    >>> settings = comparison_settings(["lightgcn", "vbpr"], ["random", "sgurinit"], 3)
    >>> settings.count()
    12
    >>> [run.label for run in settings.runs()][:2]
    ['lightgcn/random/seed-0', 'lightgcn/sgurinit/seed-0']
    """

    models: dict[str, Fields] = Field(
        min_length=1, description="Every field of the config of each model, by name."
    )
    arms: dict[str, Fields] = Field(
        min_length=1, description="Kind and every field of the initializer, by the arm's name."
    )
    seeds: int = Field(ge=1, description="Number of seeds, which are 0, 1, ...")
    train: TrainSettings = Field(description="Settings of the training loop.")
    mask_valid: bool = Field(description="Exclude validation items from the test ranking.")
    search: SearchSettings | None = Field(
        default=None, description="Settings of the search. None: no search."
    )

    def run(self, model: str, arm: str, seed: int) -> RunSettings:
        """Make the settings of one run, as given before any search."""
        return RunSettings(
            model=model,
            config=self.models[model],
            arm=arm,
            initializer=self.arms[arm],
            seed=seed,
            train=self.train,
            mask_valid=self.mask_valid,
        )

    def count(self) -> int:
        """Count the runs, including the trials of a search."""
        pairs = len(self.models) * len(self.arms)
        if self.search is None:
            return pairs * self.seeds
        sizes = {name: prod(map(len, space.values())) for name, space in self.search.spaces.items()}
        trials = [
            min(self.search.trials, sizes[model] * sizes[arm])
            for model in self.models
            for arm in self.arms
        ]
        return sum(trials) + pairs * self.seeds

    def runs(self) -> Iterator[RunSettings]:
        """Yield every run. The arms of a model and seed follow each other."""
        for model in self.models:
            for seed in range(self.seeds):
                for arm in self.arms:
                    yield self.run(model, arm, seed)
