"""What to type to make a comparison again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sgurinit.experiments.settings import KIND, ComparisonSettings
from sgurinit.resolve import resolve_initializer, resolve_model
from sgurinit.training import TrainSettings

_STUDY = "# save the lines above as study.yaml, then:\nsgurinit study study.yaml"

# Settings of the loop that have an option of their own.
_OPTIONS = {"max_epochs": "--max-epochs", "patience": "--patience"}


def command(
    settings: ComparisonSettings, source: str | None, out: str, file: str | None = None
) -> str:
    """Shell command that repeats a comparison; what equals a default is left out.

    A plan that was made in Python and has arms with names of their own or a search has no such
    command: it becomes the content of a study's file, and the command that runs this.

    Parameters
    ----------
    settings
        What was compared.
    source
        Path or name of the data; ``DATA`` stands for data that came from neither.
    out
        Folder of the comparison.
    file
        File that describes it, where there is one.
    """
    if file is not None:
        return shlex.join(["sgurinit", "study", file, "--out", out])
    if settings.search is not None or any(own[KIND] != arm for arm, own in settings.arms.items()):
        return f"{_study(settings, source)}\n{_STUDY} --out {shlex.quote(out)}"
    words = ["sgurinit", "compare", source or "DATA"]
    words += ["--models", ",".join(settings.models), "--arms", ",".join(settings.arms)]
    words += ["--seeds", str(settings.seeds), "--out", out]
    loop = TrainSettings().model_dump(mode="json")
    for field, value in _changed(settings.train.model_dump(mode="json"), loop):
        words += (
            [_OPTIONS[field], value] if field in _OPTIONS else ["--set", f"train.{field}={value}"]
        )
    for name, config in settings.models.items():
        words += _set(name, config, resolve_model(name).Config().model_dump(mode="json"))
    for name, fields in settings.arms.items():
        words += _set(name, fields, _defaults(name, settings.arms))
    if settings.mask_valid:
        words.append("--mask-valid")
    return shlex.join(words)


def _study(settings: ComparisonSettings, source: str | None) -> str:
    """Describe a plan as a study's file does, every field written out."""
    plan = settings.model_dump(mode="json")
    content = {"data": {"path": source or "DATA"}, **plan}
    if plan["search"] is None:
        del content["search"]
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)


def _defaults(name: str, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the fields of an arm are where nothing is set for it, its name among them.

    What differs from the defaults in the arm that it controls is set for that one and inherited.
    """
    kind = type(resolve_initializer(name))
    defaults = {KIND: name, **kind().model_dump(mode="json")}
    lead = kind.controls
    if lead is not None and lead in arms:
        usual = {KIND: lead, **resolve_initializer(lead).model_dump(mode="json")}
        for field, value in arms[lead].items():
            if value != usual[field] and field in defaults and field not in kind.fixed:
                defaults[field] = value
    return defaults


def _set(name: str, fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    changed = _changed(fields, defaults)
    return [word for field, value in changed for word in ("--set", f"{name}.{field}={value}")]


def _changed(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields that differ from `defaults`, as the command line takes them."""
    for field, value in fields.items():
        if value != defaults.get(field):
            yield field, value if isinstance(value, str) else json.dumps(value)
