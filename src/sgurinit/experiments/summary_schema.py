"""The fields of ``summary.json`` that readers use, and their types."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from sgurinit.data import DatasetSummary
from sgurinit.errors import InputError
from sgurinit.experiments.provenance import Environment
from sgurinit.experiments.run import METRIC_NAMES
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.summary import GROUP_METRICS
from sgurinit.resolve import build

AGAIN = "run the command that wrote the folder again, which keeps finished runs"

_Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Comparison(_Part):
    """The comparison of a metric with that of another arm."""

    lift: FiniteFloat | None = None
    mean_difference: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    p_value: _Share | None = None
    p_holm: _Share | None = None
    n_users: int | None = None

    @model_validator(mode="after")
    def _require_both_ends(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise PydanticCustomError("ends", "low and high: one of them is missing")
        return self


class _UntrainedScore(_Part):
    mean: FiniteFloat
    sd: FiniteFloat | None


class _Score(_Comparison, _UntrainedScore):
    per_seed: list[FiniteFloat]


class _Entry(_Part):
    """One model and arm, see `summarize_runs`."""

    model: str
    arm: str
    test: dict[str, _Score]
    groups: dict[str, dict[str, _Score]]
    against: dict[str, dict[str, _Comparison]]
    best_epochs: list[int]
    epochs: list[int]
    seconds: list[FiniteFloat]
    at_epoch_limit: int = 0
    start_share: list[FiniteFloat | None] = []
    epochs_to_99_percent: list[int | None] = []
    seconds_to_99_percent: list[FiniteFloat | None] = []


class _Untrained(_Part):
    name: str
    test: dict[str, _UntrainedScore]


class _Choice(_Part):
    config: dict[str, Any]
    initializer: dict[str, Any]
    at_edge: list[str]


class _Machine(_Part):
    cpu: str
    cores: int
    gpu: str | None
    commit: str | None
    runs: int


@dataclass(config=ConfigDict(strict=True, allow_inf_nan=False), frozen=True)
class _Data(DatasetSummary):
    source: str | None


class _Summary(_Part):
    settings: dict[str, Any]
    file: str | None = None
    data_option: str | None = None
    chosen: dict[str, dict[str, _Choice]] | None
    data: _Data
    environment: Environment
    machines: list[_Machine] = []
    results: Annotated[list[_Entry], Field(min_length=1)]
    untrained: list[_Untrained]


def check_summary(summary: Mapping[str, Any], place: str) -> ComparisonSettings:
    """Check what a summary holds, and return its settings.

    Parameters
    ----------
    summary : mapping
        Content of a file ``summary.json``.
    place : str
        Path of the file, for the error message.

    Raises
    ------
    InputError
        A field is missing, has a wrong type, or does not agree with others.
    """
    try:
        # In JSON mode, because strict Python mode takes no mapping for a dataclass.
        found = _Summary.model_validate_json(json.dumps(summary))
    except ValidationError as error:
        first = error.errors()[0]
        raise _error(place, ".".join(map(str, first["loc"])), first["msg"]) from None
    settings = build(ComparisonSettings, found.settings, prefix=f"{place}: settings")
    for field, reason in _find_gaps(found, settings):
        raise _error(place, field, reason)
    return settings


def _error(place: str, field: str, reason: str) -> InputError:
    return InputError(f"{place}: {field} is damaged or from an earlier version ({reason}); {AGAIN}")


def _find_gaps(found: _Summary, settings: ComparisonSettings) -> Iterator[tuple[str, str]]:
    """List fields that do not agree with others, each with the reason."""
    pairs = sorted((model, arm) for model in settings.models for arm in settings.arms)
    if sorted((entry.model, entry.arm) for entry in found.results) != pairs:
        yield "results", "expected every model and arm of the settings once"
    for at, entry in enumerate(found.results):
        yield from _find_entry_gaps(entry, found.results[0], settings.seeds, f"results.{at}")
    for at, untrained in enumerate(found.untrained):
        yield from _find_missing(untrained.test, METRIC_NAMES, f"untrained.{at}.test")
    if settings.search is not None:
        yield from _find_choice_gaps(found.chosen or {}, pairs, settings.search.spaces)


def _find_entry_gaps(
    entry: _Entry, first: _Entry, n_seeds: int, place: str
) -> Iterator[tuple[str, str]]:
    yield from _find_missing(entry.groups, first.groups, f"{place}.groups")
    scores = {"test": entry.test, **{f"groups.{k}": own for k, own in entry.groups.items()}}
    for name, own in scores.items():
        expected = METRIC_NAMES if name == "test" else GROUP_METRICS
        yield from _find_missing(own, expected, f"{place}.{name}")
        for metric, score in own.items():
            if len(score.per_seed) != n_seeds:
                yield f"{place}.{name}.{metric}.per_seed", f"expected {n_seeds} values"
            if score.p_value is not None and "low" not in score.model_fields_set:
                yield f"{place}.{name}.{metric}.p_value", "it ignores the seeds"
    for other, compared in entry.against.items():
        yield from _find_missing(compared, GROUP_METRICS, f"{place}.against.{other}")
    for name in ("best_epochs", "epochs", "seconds"):
        if len(getattr(entry, name)) != n_seeds:
            yield f"{place}.{name}", f"expected {n_seeds} values"


def _find_choice_gaps(
    chosen: Mapping[str, Mapping[str, _Choice]],
    pairs: Iterable[tuple[str, str]],
    spaces: Mapping[str, Iterable[str]],
) -> Iterator[tuple[str, str]]:
    for model, arm in pairs:
        place = f"chosen.{model}.{arm}"
        choice = chosen.get(model, {}).get(arm)
        if choice is None:
            yield place, "it is missing"
        else:
            yield from _find_missing(choice.config, spaces[model], f"{place}.config")
            yield from _find_missing(choice.initializer, spaces[arm], f"{place}.initializer")


def _find_missing(
    found: Container[str], names: Iterable[str], place: str
) -> Iterator[tuple[str, str]]:
    for name in names:
        if name not in found:
            yield place, f"no {name}"
