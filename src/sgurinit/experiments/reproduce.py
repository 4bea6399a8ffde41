"""The shell command that repeats a comparison."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sgurinit.experiments.settings import KIND, ComparisonSettings
from sgurinit.models.resolver import comes_with_library
from sgurinit.resolve import resolve_initializer, resolve_model
from sgurinit.training import TrainSettings

_STUDY = "# save the lines above as study.yaml, then:\nsgurinit study study.yaml"

_OWN_MODEL = "(not in sgurinit): pass the class to sgurinit.compare, with these settings:"

# Fields of TrainSettings that have their own command-line option.
_OPTIONS = {"max_epochs": "--max-epochs", "patience": "--patience"}


def format_command(
    settings: ComparisonSettings,
    source: str | None,
    out: str,
    file: str | None = None,
    data_option: str | None = None,
) -> str:
    """Format the shell command that repeats a comparison. Default values are left out.

    ``sgurinit compare`` has no options for arms with custom names or for a search. Such a plan,
    if made in Python, is returned as the content of a study's file and the command that runs it. A
    model that does not come with the library needs Python, so its plan is returned as settings.

    Parameters
    ----------
    settings : ComparisonSettings
        Settings of the comparison.
    source : str or None
        Path or name of the data. None, for data built in Python, is shown as ``DATA``.
    out : str
        Folder of the comparison.
    file : str or None, default None
        The study's file, if the comparison was described by one.
    data_option : str or None, default None
        The data, if they were given instead of those in the file.

    Returns
    -------
    str
        One line, or several for a plan that needs a file.
    """
    if file is not None:
        data = [] if data_option is None else ["--data", data_option]
        return shlex.join(["sgurinit", "study", file, *data, "--out", out])
    own = [name for name in settings.models if not comes_with_library(name)]
    if own:
        return f"# in Python: {', '.join(own)} {_OWN_MODEL}\n{_study_yaml(settings, source)}"
    if settings.search is not None or any(own[KIND] != arm for arm, own in settings.arms.items()):
        return f"{_study_yaml(settings, source)}\n{_STUDY} --out {shlex.quote(out)}"
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


def _study_yaml(settings: ComparisonSettings, source: str | None) -> str:
    """Write a plan as the content of a study's file, with every field."""
    plan = settings.model_dump(mode="json")
    content = {"data": {"path": source or "DATA"}, **plan}
    if plan["search"] is None:
        del content["search"]
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)


def _defaults(name: str, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of an arm if none of them is set, including its kind.

    Fields that are set for the arm that it controls are inherited.
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
    """Fields that differ from `defaults`, in the form of the command line."""
    for field, value in fields.items():
        if value != defaults.get(field):
            yield field, value if isinstance(value, str) else json.dumps(value)
