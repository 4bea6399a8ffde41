"""The YAML file of a study: its fields, and how it is read."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field
from typing_extensions import override

from sgurinit.errors import InputError
from sgurinit.experiments.settings import SearchSettings
from sgurinit.fields import Settings, StrictInteger
from sgurinit.resolve import build

_FieldsByName = dict[str, dict[str, Any] | None]
_MOST_ARMS = 1000  # of a sweep


class StudyData(Settings):
    """Where the data of a study are, and which items are held out of training."""

    path: str | None = Field(
        default=None,
        description=(
            "Folder, relative to the file, or the name of a built-in data set. None: it is given "
            "when the study is run."
        ),
    )
    cold_items: float | None = Field(
        default=None, gt=0, lt=1, description="Share of the items to hold out of training."
    )
    seed: StrictInteger = Field(
        default=0, ge=0, description="Seed of the choice of held-out items."
    )


class StudySearch(SearchSettings):
    """How settings are searched."""

    spaces: dict[str, dict[str, tuple[Any, ...]]] = Field(
        default={},
        description=(
            "Values to choose from, by model or arm and by field. By default, a model has the "
            "search space of its config."
        ),
    )


class StudyFile(Settings):
    """Content of a study's YAML file."""

    data: StudyData = Field(default=StudyData(), description="The data.")
    models: _FieldsByName = Field(
        min_length=1, description="Fields that differ from the defaults, by model."
    )
    arms: _FieldsByName = Field(
        min_length=1,
        description=(
            "Fields that differ from the defaults, by arm. An arm with a custom name has a `kind`,"
            " the name of its initializer. `sweep`, values by field, makes an arm of every"
            " combination, named `mine-local_weight=1-n_clusters=8`."
        ),
    )
    seeds: StrictInteger = Field(
        default=5, ge=1, description="Number of seeds: 0, 1, ..., at most 1000."
    )
    train: dict[str, Any] = Field(
        default={}, description="Settings of the training loop that differ from the defaults."
    )
    mask_valid: bool = Field(
        default=False, description="Exclude validation items from the test ranking."
    )
    search: StudySearch | None = Field(
        default=None, description="How settings are searched. None: no search."
    )


def read_study_file(path: Path) -> StudyFile:
    """Read and check the fields of a study's file.

    Raises
    ------
    InputError
        The file cannot be read, or a field does not exist or has a wrong value.
    """
    return build(StudyFile, _read_yaml(path), prefix="study")


def expand_sweeps(arms: _FieldsByName) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and fields of every arm, with an arm for every combination of a sweep.

    Raises
    ------
    InputError
        A sweep is not a mapping of fields to lists, a list is empty, or the combinations are more
        than a thousand.
    """
    for name, fields in arms.items():
        own = {"kind": name, **(fields or {})}
        values = own.pop("sweep", {})
        if not isinstance(values, dict) or not all(isinstance(v, list) for v in values.values()):
            raise InputError(f"arms.{name}.sweep is {values!r}, expected lists of values by field")
        if not all(values.values()):
            raise InputError(
                f"arms.{name}.sweep is {values!r}, expected at least one value for each field"
            )
        if (count := math.prod(map(len, values.values()))) > _MOST_ARMS:
            raise InputError(
                f"arms.{name}.sweep makes {count:,} arms, at most {_MOST_ARMS:,} are allowed; give "
                "fewer values"
            )
        for combination in itertools.product(*values.values()):
            chosen = dict(zip(values, combination, strict=True))
            suffix = "".join(f"-{field}={_format(value)}" for field, value in chosen.items())
            yield name + suffix, {**own, **chosen}


def _format(value: Any) -> str:
    """Format a value for the name of an arm."""
    return "+".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


_MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Refuses a field that is given twice, of which YAML would silently use the last one.

    It also refuses aliases that stand for very many values, or for themselves.
    """

    @override
    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _count_values(node, {}) > _MOST_VALUES:
            raise yaml.composer.ComposerError(
                problem="its aliases (*name) stand for too many values; write the values out"
            )
        return node

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        own = Counter(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))
        for name, count in own.items():
            if count > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name!r} is given twice in one place", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def _count_values(node: yaml.Node, known: dict[int, float]) -> float:
    """Count the values that a node stands for; infinitely many where it is part of itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        known[id(node)] = 1 + sum(_count_values(part, known) for part in parts)
    return known[id(node)]


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise InputError(f"expected a YAML file that can be read ({error})") from None
    except (yaml.YAMLError, ValueError) as error:  # also text, dates and numbers
        raise InputError(f"cannot be read as YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError("cannot be read as YAML: values are nested too deeply") from None
    if not isinstance(content, dict):
        raise InputError("expected fields such as data, models and arms")
    _check_keys(content)
    return content


def _check_keys(content: Any) -> None:
    """Refuse field names that are not text. YAML reads ``on`` as true and ``1`` as a number."""
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                raise InputError(f"field {key!r} is not text; put it in quotes")
            _check_keys(value)
