"""The settings of runs and comparisons, with every field written out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import prod
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sgurinit.arms import Initializer
from sgurinit.fields import Settings, StrictInteger
from sgurinit.resolve import resolve_initializer
from sgurinit.training import TrainSettings

KIND = "kind"


def _require_kind(fields: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(fields.get(KIND), str):
        raise PydanticCustomError("kind", "expected a kind, the name of an initializer")
    return fields


Fields = dict[str, Any]
ArmFields = Annotated[Fields, AfterValidator(_require_kind)]
SEARCH_SEEDS = (1000, 1001)
"""Seeds of trials: that of every trial, and that of the trials that are done again."""


class RunSettings(Settings):
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
    initializer: ArmFields = Field(description="Kind of the initializer and every field of it.")
    seed: StrictInteger = Field(ge=0, description="Seed of everything random.")
    trial: int | None = Field(
        default=None, ge=0, description="Number of the trial of a search, which reads no test data."
    )
    train: TrainSettings = Field(description="Settings of the training loop.")
    mask_valid: bool = Field(description="Exclude validation items from the test ranking.")

    @property
    def label(self) -> str:
        """Name of the run, such as ``"lightgcn/random/seed-0"``."""
        if self.trial is None:
            return f"{self.model}/{self.arm}/seed-{self.seed}"
        again = "-again" if self.seed == SEARCH_SEEDS[1] else ""
        return f"{self.model}/{self.arm}/trial-{self.trial}{again}"

    @property
    def path(self) -> str:
        """Path of the run's folder in that of the comparison."""
        return f"{'runs' if self.trial is None else 'trials'}/{self.label}"

    def make_initializer(self) -> Initializer:
        """Construct the initializer of the arm."""
        fields = dict(self.initializer)
        return resolve_initializer(fields.pop(KIND), fields)


class Halving(Settings):
    """When trials that do not keep up are stopped (asynchronous successive halving).

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.
    """

    epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="Epochs at which a trial may be stopped, ascending."
    )
    keep: float = Field(
        gt=0,
        lt=1,
        description=(
            "Share of the trials that continue: those with the best scores at that epoch, of the "
            "trials of the same model and arm that came so far."
        ),
    )

    @field_validator("epochs")
    @classmethod
    def _ascend(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if list(epochs) != sorted(set(epochs)):
            raise PydanticCustomError("order", "expected each epoch once, in ascending order")
        return epochs


class SearchSettings(Settings):
    """Settings of a search on validation data. The same rules hold for every arm of a model."""

    trials: int = Field(ge=1, description="Number of trials per model and arm.")
    halving: Halving | None = Field(
        default=None,
        description="When trials that do not keep up are stopped (`epochs`, `keep`). None: never.",
    )
    finalists: int = Field(
        default=1,
        ge=1,
        description=(
            "Number of the best settings that are trained again with another seed. The mean of "
            "both scores decides. 1: the best trial wins."
        ),
    )
    extend: bool = Field(
        default=False,
        description=(
            "While the winner has the smallest or largest value of a list of numbers, also try the "
            "next value beyond it, up to 8 for each model and arm, and 8 after an exchange."
        ),
    )
    exchange: bool = Field(
        default=False,
        description=(
            "When all arms of a model but the controls have searched, each tries the model's "
            "settings that the others chose, with what it chose for its own fields and with every "
            "other value of one of them, and follows the edges again."
        ),
    )
    control_trials: int | None = Field(
        default=None,
        ge=0,
        description=(
            "Number of trials of a control, whose arm is also compared: it starts from the "
            "settings chosen for that arm, and tries this many that differ from them in one step. "
            "None: controls search like other arms."
        ),
    )
    spaces: dict[str, dict[str, tuple[Any, ...]]] = Field(
        description="Values to choose from, by model or arm and by field."
    )


class RunCounts(NamedTuple):
    """Numbers of runs of one model, over all arms."""

    trials: int
    """Trials with the first search seed, without those of the exchange."""
    exchange: int
    """Trials of settings that other arms chose."""
    again: int
    """Trials that are done again with the second search seed."""
    runs: int
    """Runs that are tested."""


class ComparisonSettings(Settings):
    """Settings of a comparison: models, arms and seeds, with every field of each.

    Default values are included. So a folder that was begun by a version with other defaults is
    not resumed with the new ones unnoticed.

    Parameters
    ----------
    models : dict
        Every field of the config of each model, by name.
    arms : dict
        ``kind``, the name of the initializer, and every field of it, by the name of the arm.
    seeds : int in [1, 1000]
        Number of seeds, which are 0, 1, ... The trials of a search use the seeds 1000 and 1001.
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
    arms: dict[str, ArmFields] = Field(
        min_length=1, description="Kind and every field of the initializer, by the arm's name."
    )
    seeds: StrictInteger = Field(
        ge=1, le=SEARCH_SEEDS[0], description="Number of seeds, which are 0, 1, ..."
    )
    train: TrainSettings = Field(description="Settings of the training loop.")
    mask_valid: bool = Field(description="Exclude validation items from the test ranking.")
    search: SearchSettings | None = Field(
        default=None, description="Settings of the search. None: no search."
    )

    @model_validator(mode="after")
    def _require_spaces(self) -> ComparisonSettings:
        known = None if self.search is None else self.search.spaces
        for name in (*self.models, *self.arms):
            if known is not None and name not in known:
                raise PydanticCustomError("spaces", "expected spaces of {name}", {"name": name})
        return self

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

    def select_models(self, names: Collection[str]) -> ComparisonSettings:
        """Return the settings without the models that are not among `names`."""
        models = {model: own for model, own in self.models.items() if model in names}
        search = self.search
        if search is not None:
            spaces = {k: v for k, v in search.spaces.items() if k in models or k in self.arms}
            search = search.model_copy(update={"spaces": spaces})
        return self.model_copy(update={"models": models, "search": search})

    def find_lead(self, arm: str) -> str | None:
        """Return the arm whose chosen settings the search of a control starts from.

        None if `arm` searches on its own: it is not a control, has a custom name, the arm that it
        controls is not compared, or the search does not ask for it.
        """
        if self.search is None or self.search.control_trials is None:
            return None
        kind = type(resolve_initializer(self.arms[arm][KIND]))
        return kind.controls if arm == kind.name and kind.controls in self.arms else None

    def list_exchanging(self) -> list[str]:
        """List the arms that try one another's settings: all but the controls, if there are two."""
        if self.search is None or not self.search.exchange:
            return []
        leads = [arm for arm in self.arms if self.find_lead(arm) is None]
        return leads if len(leads) > 1 else []

    def count_runs(self, model: str) -> RunCounts:
        """Count the runs of a model.

        A search that extends its lists may need more. A control at the end of a list, or an arm to
        which another brings settings that it has tried, may need fewer.
        """
        runs = len(self.arms) * self.seeds
        if self.search is None:
            return RunCounts(0, 0, 0, runs)
        trials = [self._count_trials(model, arm, self.search) for arm in self.arms]
        exchanged = self._count_exchanged(self.search)
        finalists = self.search.finalists if self.search.finalists > 1 else 0
        again = sum(min(n, finalists) for n in [*trials, *exchanged])
        return RunCounts(sum(trials), sum(exchanged), again, runs)

    def _count_trials(self, model: str, arm: str, search: SearchSettings) -> int:
        sizes = [len(v) for name in (model, arm) for v in search.spaces[name].values()]
        if self.find_lead(arm) is None:
            return min(search.trials, prod(sizes))
        assert search.control_trials is not None  # noqa: S101 - else there is no lead
        return 1 + min(search.control_trials, sum(min(2, size - 1) for size in sizes))

    def _count_exchanged(self, search: SearchSettings) -> list[int]:
        arms = self.list_exchanging()
        settings = [1 + sum(len(v) - 1 for v in search.spaces[arm].values()) for arm in arms]
        return [n * (len(arms) - 1) for n in settings]

    def count(self) -> int:
        """Count the runs of all models, including the trials of a search, see `count_runs`."""
        return sum(sum(self.count_runs(model)) for model in self.models)

    def runs(self) -> Iterator[RunSettings]:
        """Yield every run. The arms of a model and seed follow each other."""
        for model in self.models:
            for seed in range(self.seeds):
                for arm in self.arms:
                    yield self.run(model, arm, seed)
