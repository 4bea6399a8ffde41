"""What a comparison compares, fully spelled out before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sgurinit.data import Dataset, summary
from sgurinit.errors import InputError
from sgurinit.initialisers import Initialiser, initialisers
from sgurinit.models import models as models_resolver
from sgurinit.resolve import (
    build,
    model_name,
    resolve_config,
    resolve_initialiser,
    resolve_model,
)
from sgurinit.training import TrainSettings

Fields = dict[str, Any]
METHOD = "sgurinit"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunSettings(_Frozen):
    """One training run: a model with one start and one seed."""

    model: str = Field(description="Name of the model.")
    config: Fields = Field(description="Every field of the model's config.")
    arm: str = Field(description="Name of the initialiser.")
    initialiser: Fields = Field(description="Every field of the initialiser.")
    seed: int = Field(ge=0, description="Seed of everything random.")
    train: TrainSettings = Field(description="Settings of the loop.")
    mask_valid: bool = Field(description="Leave validation items out of the test ranking.")

    @property
    def label(self) -> str:
        """Name of the run, also its folder: ``"lightgcn/random/seed-0"``."""
        return f"{self.model}/{self.arm}/seed-{self.seed}"


class ComparisonSettings(_Frozen):
    """Models x arms x seeds, with every field of each.

    Defaults are written out, so a folder that was started by an older version with other defaults
    is not continued with new ones unnoticed.
    """

    models: dict[str, Fields] = Field(min_length=1, description="Model name to its config.")
    arms: dict[str, Fields] = Field(min_length=1, description="Arm name to its initialiser.")
    seeds: int = Field(ge=1, description="Number of seeds; they are 0, 1, ...")
    train: TrainSettings = Field(description="Settings of the loop.")
    mask_valid: bool = Field(description="Leave validation items out of the test ranking.")

    def runs(self) -> Iterator[RunSettings]:
        """Yield every run, all arms of a model and seed one after the other."""
        for model, config in self.models.items():
            for seed in range(self.seeds):
                for arm, initialiser in self.arms.items():
                    yield RunSettings(
                        model=model,
                        config=config,
                        arm=arm,
                        initialiser=initialiser,
                        seed=seed,
                        train=self.train,
                        mask_valid=self.mask_valid,
                    )


def comparison_settings(
    models: Sequence[str],
    arms: Sequence[str],
    seeds: int,
    *,
    train: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    mask_valid: bool = False,
) -> ComparisonSettings:
    """Resolve names and fields into full settings.

    Parameters
    ----------
    models, arms
        Names as the resolver knows them.
    seeds
        How many, at least 1.
    train
        Settings of the loop; the literature's where None.
    overrides
        Fields that differ from the defaults, by the name of a model or an arm. Those of
        ``sgurinit`` hold for its controls and halves too, but for what these fix or set themselves.
    mask_valid
        Leave validation items out of the test ranking.

    Raises
    ------
    InputError
        A name or a field does not exist, is out of range or is given twice.
    """
    overrides = {models_resolver.normalize(name): own for name, own in (overrides or {}).items()}
    shared = overrides.get(METHOD, {})
    resolve_initialiser(METHOD, shared)
    configs = {}
    for name in _unique([model_name(resolve_model(m)) for m in models], "models"):
        config = resolve_config(resolve_model(name), overrides.pop(name, None))
        configs[name] = config.model_dump(mode="json")
    starts = {}
    for name in _unique([arm_name(arm) for arm in arms], "arms"):
        inherited = {field: value for field, value in shared.items() if _is_free(name, field)}
        start = resolve_initialiser(name, inherited | dict(overrides.pop(name, {})))
        starts[name] = start.model_dump(mode="json")
        if inherited:
            overrides.pop(METHOD, None)
    if overrides:
        raise InputError(
            f"{next(iter(overrides))!r} is set but not compared; compared are models "
            f"{', '.join(configs)} and arms {', '.join(starts)}"
        )
    fields = {"models": configs, "arms": starts, "seeds": seeds, "mask_valid": mask_valid}
    fields["train"] = train or TrainSettings()
    return build(ComparisonSettings, fields, prefix="comparison")


def arm_name(arm: str | type[Initialiser]) -> str:
    """Name that the resolver knows `arm` by."""
    return initialisers.normalize_cls(type(resolve_initialiser(arm)))


def shared_fields(arms: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Fields]:
    """Give `fields` to each of the arms that has them and does not fix them itself.

    ``local`` and ``global``, for example, are the two ends of `mix` and keep it.

    Raises
    ------
    InputError
        No arm takes one of the fields.
    """
    taken = {
        arm: {name: value for name, value in fields.items() if _is_free(arm, name)} for arm in arms
    }
    for name in fields:
        if not any(name in found for found in taken.values()):
            raise InputError(f"{name} is set, but none of the arms {', '.join(arms)} takes it")
    return {arm_name(arm): found for arm, found in taken.items() if found}


def _is_free(arm: str, name: str) -> bool:
    kind = type(resolve_initialiser(arm))
    fixes = name in inspect.get_annotations(kind) and any(
        name in base.model_fields for base in kind.__bases__ if issubclass(base, BaseModel)
    )
    return name in kind.model_fields and not fixes


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
