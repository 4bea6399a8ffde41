"""A comparison described by a YAML file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from sgurinit.data import Dataset, hold_out_items, load_dataset
from sgurinit.data.shipped import SHIPPED
from sgurinit.errors import InputError
from sgurinit.experiments.comparison import Comparison, run_plan, usable
from sgurinit.experiments.run import EventCallback, no_event
from sgurinit.experiments.settings import ComparisonSettings, comparison_settings
from sgurinit.resolve import build
from sgurinit.training import TrainSettings

PLANTED = "planted"
Named = dict[str, dict[str, Any] | None]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataFile(_File):
    """Where the data are and what is done to them."""

    path: str = Field(description="Folder, relative to the file, or the name of embedded data.")
    cold_items: float | None = Field(
        default=None, gt=0, lt=1, description="Share of the items to hold out of training."
    )
    seed: int = Field(default=0, ge=0, description="Seed of what is held out.")


class SearchFile(_File):
    """How settings are searched."""

    trials: int = Field(ge=1, description="Settings tried per model and arm.")
    spaces: dict[str, dict[str, list[Any]]] = Field(
        default={},
        description="Values by field, by the name of a model (its own space by default) or an arm.",
    )


class StudyFile(_File):
    """Content of a study's YAML file."""

    data: DataFile = Field(description="The data.")
    models: Named = Field(min_length=1, description="Fields that differ, by the model's name.")
    arms: Named = Field(
        min_length=1,
        description=(
            "Fields that differ, by the arm's name; `kind` where it is a name of your own. `sweep`,"
            " values by field, makes an arm of every combination, named"
            " `mine-local_weight=1-n_clusters=8`."
        ),
    )
    seeds: int = Field(default=5, ge=1, description="Number of seeds: 0, 1, ...")
    train: dict[str, Any] = Field(default={}, description="Settings of the loop that differ.")
    mask_valid: bool = Field(
        default=False, description="Leave validation items out of the test ranking."
    )
    search: SearchFile | None = Field(default=None, description="None: settings are as given.")


@dataclass(frozen=True)
class Study:
    """A study that was read from its file.

    Attributes
    ----------
    file
        The file.
    plan
        What to compare.
    dataset, source
        The data, and the path or name that they were loaded by.
    """

    file: Path
    plan: ComparisonSettings
    dataset: Dataset
    source: str

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """Read a YAML file, see `StudyFile`.

        Raises
        ------
        InputError
            The file cannot be read, or something in it cannot be used; the message names it.
        """
        file = Path(path)
        content = _content(file)
        try:
            found = build(StudyFile, content, prefix="study")
            plan = comparison_settings(
                list(found.models),
                dict(_swept(found.arms)),
                found.seeds,
                train=build(TrainSettings, found.train, prefix="train"),
                overrides={name: fields or {} for name, fields in found.models.items()},
                mask_valid=found.mask_valid,
                search=None if found.search is None else found.search.model_dump(),
            )
            is_name = found.data.path in (PLANTED, *SHIPPED)
            source = found.data.path if is_name else str(file.parent / found.data.path)
            dataset = load_dataset(source)
            if found.data.cold_items is not None:
                dataset = hold_out_items(dataset, found.data.cold_items, seed=found.data.seed)
            return cls(file, plan, usable(dataset), source)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None

    def run(
        self, out: str | Path | None = None, *, jobs: int = 1, on_event: EventCallback = no_event
    ) -> Comparison:
        """Do what the file describes; whatever is finished is kept and never done again.

        Parameters
        ----------
        out
            Folder of the study; the file's name without its ending where None.
        jobs, on_event
            See `compare`.

        Raises
        ------
        InputError
            As `compare`.
        """
        folder = self.file.with_suffix("") if out is None else Path(out)
        if folder.resolve() in {self.file.resolve(), Path(self.source).resolve()}:
            raise InputError(f"{folder}: holds the study's file or its data; choose another folder")
        return run_plan(
            self.plan,
            self.dataset,
            self.source,
            out=folder,
            file=self.file,
            jobs=jobs,
            on_event=on_event,
        )


def _swept(arms: Named) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every arm, those with a sweep once per combination of its values."""
    for name, fields in arms.items():
        own = {"kind": name, **(fields or {})}
        values = own.pop("sweep", {})
        if not isinstance(values, dict) or not all(isinstance(v, list) for v in values.values()):
            raise InputError(f"arms.{name}.sweep is {values!r}, expected lists of values by field")
        if not all(values.values()):
            raise InputError(f"arms.{name}.sweep is {values!r}: an empty list leaves no arm")
        for combination in itertools.product(*values.values()):
            chosen = dict(zip(values, combination, strict=True))
            suffix = "".join(f"-{field}={_word(value)}" for field, value in chosen.items())
            yield name + suffix, {**own, **chosen}


class _Loader(yaml.SafeLoader):
    """Refuses a field given twice, of which YAML would keep the last without a word."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in own:
            if own.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"{name!r} is given twice in one place", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def _check_keys(place: Path, content: Any) -> None:
    """Refuse fields that are no names: YAML reads ``on`` as true and ``1`` as a number."""
    if isinstance(content, dict):
        for key, value in content.items():
            if not isinstance(key, str):
                raise InputError(f"{place}: field {key!r} is no name; put it in quotes")
            _check_keys(place, value)


def _word(value: Any) -> str:
    """A value in the name of an arm."""
    return "+".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _content(place: Path) -> Mapping[str, Any]:
    try:
        content = yaml.load(place.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one
    except OSError as error:
        raise InputError(f"{place}: expected a YAML file that can be read ({error})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{place}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{place}: expected fields such as data, models and arms")
    _check_keys(place, content)
    return content
