"""What a comparison compares, fully spelled out before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sgurinit.arms import METHOD, Initializer, MethodInitializer, arm_names
from sgurinit.data import Dataset, summary
from sgurinit.errors import InputError
from sgurinit.models import models as models_resolver
from sgurinit.resolve import (
    build,
    model_name,
    resolve_config,
    resolve_initializer,
    resolve_model,
)
from sgurinit.training import TrainSettings

Fields = dict[str, Any]
KIND = "kind"
LABEL = r"[A-Za-z0-9][A-Za-z0-9._+=-]*"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunSettings(_Frozen):
    """One training run: a model with one start and one seed."""

    model: str = Field(description="Name of the model.")
    config: Fields = Field(description="Every field of the model's config.")
    arm: str = Field(description="Name of the arm.")
    initializer: Fields = Field(description="Kind of the initializer and every field of it.")
    seed: int = Field(ge=0, description="Seed of everything random.")
    trial: int | None = Field(
        default=None, ge=0, description="Number of the trial of a search; it reads no test data."
    )
    train: TrainSettings = Field(description="Settings of the loop.")
    mask_valid: bool = Field(description="Leave validation items out of the test ranking.")

    @property
    def label(self) -> str:
        """Name of the run, also its folder: ``"lightgcn/random/seed-0"``."""
        last = f"seed-{self.seed}" if self.trial is None else f"trial-{self.trial}"
        return f"{self.model}/{self.arm}/{last}"

    def for_seed(self, seed: int) -> RunSettings:
        """Make the settings of a run with `seed` out of a trial's."""
        return self.model_copy(update={"seed": seed, "trial": None})

    def make_initializer(self) -> Initializer:
        """Make the arm."""
        fields = dict(self.initializer)
        return resolve_initializer(fields.pop(KIND), fields)


class SearchSettings(_Frozen):
    """How settings are chosen on validation data: alike for every arm of every model."""

    trials: int = Field(ge=1, description="Settings tried per model and arm.")
    spaces: dict[str, dict[str, tuple[Any, ...]]] = Field(
        description="Values to choose from, by field, by the name of a model or an arm."
    )


class ComparisonSettings(_Frozen):
    """Models x arms x seeds, with every field of each.

    Defaults are written out, so a folder that was started by an older version with other defaults
    is not continued with new ones unnoticed.
    """

    models: dict[str, Fields] = Field(min_length=1, description="Model name to its config.")
    arms: dict[str, Fields] = Field(
        min_length=1, description="Arm name to its initializer's kind and fields."
    )
    seeds: int = Field(ge=1, description="Number of seeds; they are 0, 1, ...")
    train: TrainSettings = Field(description="Settings of the loop.")
    mask_valid: bool = Field(description="Leave validation items out of the test ranking.")
    search: SearchSettings | None = Field(
        default=None, description="How settings are searched; where None they are as given."
    )

    def run(self, model: str, arm: str, seed: int) -> RunSettings:
        """Settings of one run, as given."""
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
        """How many runs there are, trials included."""
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
        """Yield every run, all arms of a model and seed one after the other."""
        for model in self.models:
            for seed in range(self.seeds):
                for arm in self.arms:
                    yield self.run(model, arm, seed)


def comparison_settings(
    models: Sequence[str],
    arms: Sequence[str] | Mapping[str, Mapping[str, Any]],
    seeds: int,
    *,
    train: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    mask_valid: bool = False,
    search: Mapping[str, Any] | None = None,
) -> ComparisonSettings:
    """Resolve names and fields into full settings.

    Parameters
    ----------
    models
        Names as the resolver knows them.
    arms
        Names as the resolver knows them; or names of your own with the fields of each, among them
        ``kind``, the initializer's name where it is not the arm's.
    seeds
        How many, at least 1.
    train
        Settings of the loop; the literature's where None.
    overrides
        Fields that differ from the defaults, by the name of a model or an arm. Those of
        ``sgurinit`` and ``hybrid`` hold for their controls too, but for what these fix themselves.
    mask_valid
        Leave validation items out of the test ranking.
    search
        ``trials`` and, by the name of a model or an arm, ``spaces`` of values by field. A model
        that is not named has the space that its config declares; an arm none, but controls what
        they leave free of the space of the arm that they control.

    Raises
    ------
    InputError
        A name or a field does not exist, is out of range or is given twice.
    """
    labels = [_label(name) for name in arms] if isinstance(arms, Mapping) else []
    given, overrides = overrides or {}, {}
    for name, own in given.items():
        canonical = _canonical(name, labels)
        if canonical in overrides:
            raise InputError(f"{canonical} is set twice, once as {name!r}; set it in one place")
        overrides[canonical] = own
    configs = {}
    for name in _unique([model_name(resolve_model(m)) for m in models], "models"):
        config = resolve_config(resolve_model(name), overrides.pop(name, None))
        configs[name] = config.model_dump(mode="json")
    starts = _starts(arms, overrides)
    for name in starts:
        if name in configs:
            raise InputError(f"arms: {name} is the name of a model compared; choose another")
    if overrides:
        raise InputError(
            f"{next(iter(overrides))!r} is set but not compared; compared are models "
            f"{', '.join(configs)} and arms {', '.join(starts)}"
        )
    fields = {"models": configs, "arms": starts, "seeds": seeds, "mask_valid": mask_valid}
    fields["train"] = train or TrainSettings()
    if search is not None:
        fields["search"] = _search(search, configs, starts)
    return build(ComparisonSettings, fields, prefix="comparison")


def _starts(
    arms: Sequence[str] | Mapping[str, Mapping[str, Any]], overrides: dict[str, Mapping[str, Any]]
) -> dict[str, Fields]:
    """Every arm's kind and fields; what is used of `overrides` is taken out."""
    given: dict[str, Fields]
    if isinstance(arms, Mapping):
        given = {name: {KIND: name, **own} for name, own in arms.items()}
    else:
        given = {name: {KIND: name} for name in _unique([arm_name(arm) for arm in arms], "arms")}
    kinds = {name: _kind(own.pop(KIND)) for name, own in given.items()}
    shared: dict[str, Fields] = {}
    for lead in {kind.controls for kind in kinds.values() if kind.controls is not None}:
        shared[lead] = {**given.get(lead, {}), **overrides.get(lead, {})}
        resolve_initializer(lead, shared[lead])
    used: set[str | None] = set()
    starts = {}
    for name, own in given.items():
        kind = kinds[name]
        inherited = _inherited(name, kind, shared)
        if inherited:
            used.add(kind.controls)
        used.add(name)
        arm = resolve_initializer(kind, {**inherited, **own, **overrides.get(name, {})})
        starts[name] = {KIND: kind.name, **arm.model_dump(mode="json")}
        _check_label(name, arm)
    for name in set(overrides) & used:
        del overrides[name]
    return starts


def _check_label(name: str, arm: Initializer) -> None:
    """Refuse a built-in name for something else than it stands for."""
    if name in arm_names() and name != arm.name:
        raise InputError(
            f"arms.{name} is of kind {arm.name}: {name} is an arm of its own; choose another name"
        )
    if name == METHOD and isinstance(arm, MethodInitializer) and arm.collaborative:
        raise InputError(
            f"{METHOD}.collaborative is {arm.collaborative}: {METHOD} is content alone; "
            "collaborative columns are the arm hybrid, or an arm with a name of its own"
        )


def _canonical(name: str, labels: Sequence[str]) -> str:
    """Name of an arm or a model as the plan has it, whatever its case and dashes."""
    if name in labels:
        return name
    try:
        return arm_name(name)
    except InputError:
        return models_resolver.normalize(name)


def _inherited(arm: str, kind: type[Initializer], shared: Mapping[str, Fields]) -> Fields:
    """Fields that built-in controls take from their arm; an arm with a name of its own, none."""
    if arm != kind.name or kind.controls is None:
        return {}
    said = shared.get(kind.controls, {})
    return {field: value for field, value in said.items() if _is_free(kind, field)}


def _search(
    search: Mapping[str, Any], configs: Mapping[str, Fields], starts: Mapping[str, Fields]
) -> SearchSettings:
    """Complete spaces, each value of which is known to be usable."""
    given = dict(search.get("spaces") or {})
    unused = set(given)
    spaces: dict[str, dict[str, tuple[Any, ...]]] = {}
    for name, fields in {**configs, **starts}.items():
        if name in given:
            own = given[name]
        elif name in configs:
            own = resolve_model(name).Config.search_space
        else:
            kind = _kind(fields[KIND])
            own = _inherited(name, kind, given)
            if own:
                unused.discard(kind.controls)
        unused.discard(name)
        for field, values in own.items():
            if not values:
                raise InputError(f"search.spaces.{name}.{field} is empty, expected values")
            if field == KIND:
                raise InputError(f"search.spaces.{name}: kind cannot be searched; name two arms")
        spaces[name] = {
            field: _values(name, fields, field, values, is_model=name in configs)
            for field, values in own.items()
        }
    if unused:
        raise InputError(
            f"search.spaces.{min(unused)} is not compared; compared are {', '.join(spaces)}"
        )
    return build(SearchSettings, {**search, "spaces": spaces}, prefix="search")


def _values(
    name: str, fields: Fields, field: str, values: Sequence[Any], *, is_model: bool
) -> tuple[Any, ...]:
    """Values of one field as its config holds them, each once: YAML reads ``1e-4`` as a text."""
    found = []
    for value in values:
        tried = {**fields, field: value}
        resolved: BaseModel = (
            resolve_config(resolve_model(name), tried)
            if is_model
            else resolve_initializer(tried.pop(KIND), tried)
        )
        if (held := resolved.model_dump(mode="json")[field]) not in found:
            found.append(held)
    return tuple(found)


def _label(name: str) -> str:
    if not re.fullmatch(LABEL, name):
        raise InputError(
            f"arms: {name!r} is no name for a folder; use letters, digits and any of . _ + = -"
        )
    return name


def arm_name(arm: str | type[Initializer]) -> str:
    """Name that the resolver knows `arm` by."""
    return _kind(arm).name


def shared_fields(arms: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Fields]:
    """Give `fields` to each of the arms that has them and does not fix them itself.

    ``local`` and ``global``, for example, are the two ends of `local_weight` and keep it.

    Raises
    ------
    InputError
        No arm takes one of the fields.
    """
    taken = {
        arm: {name: value for name, value in fields.items() if _is_free(_kind(arm), name)}
        for arm in arms
    }
    for name in fields:
        if not any(name in found for found in taken.values()):
            raise InputError(f"{name} is set, but none of the arms {', '.join(arms)} takes it")
    return {arm_name(arm): found for arm, found in taken.items() if found}


def _kind(arm: str | type[Initializer]) -> type[Initializer]:
    return type(resolve_initializer(arm))


def _is_free(kind: type[Initializer], name: str) -> bool:
    return name in kind.model_fields and name not in kind.fixed


def data_facts(dataset: Dataset, source: str | Path | None) -> Fields:
    """Facts about the data, ready for JSON, and `source`, the path or name it was loaded by."""
    return {"source": None if source is None else str(source), **summary(dataset).to_dict()}


def _unique(names: list[str], what: str) -> list[str]:
    if not names:
        raise InputError(f"{what}: none given, expected at least one")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{what}: {name} is given twice; name each once")
    return names
