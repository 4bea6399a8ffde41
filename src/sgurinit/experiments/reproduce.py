"""The command line that makes a comparison again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from sgurinit.experiments.settings import KIND, ComparisonSettings
from sgurinit.resolve import resolve_initialiser, resolve_model
from sgurinit.training import TrainSettings

# Settings of the loop that have an option of their own.
_OPTIONS = {"max_epochs": "--max-epochs", "patience": "--patience"}


def command(
    settings: ComparisonSettings, source: str | None, out: str, file: str | None = None
) -> str:
    """Shell command that repeats a comparison; what equals a default is left out.

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
    words = ["sgurinit", "compare", source or "DATA"]
    words += ["--models", ",".join(settings.models), "--arms", ",".join(settings.arms)]
    words += ["--seeds", str(settings.seeds), "--out", out]
    for field, value in _changed(settings.train.model_dump(mode="json"), TrainSettings()):
        words += (
            [_OPTIONS[field], value] if field in _OPTIONS else ["--set", f"train.{field}={value}"]
        )
    for name, config in settings.models.items():
        words += _set(name, config, resolve_model(name).Config())
    for name, fields in settings.arms.items():
        own = {field: value for field, value in fields.items() if field != KIND}
        words += _set(name, own, resolve_initialiser(name))
    if settings.mask_valid:
        words.append("--mask-valid")
    return shlex.join(words)


def _set(name: str, fields: Mapping[str, Any], default: BaseModel) -> list[str]:
    changed = _changed(fields, default)
    return [word for field, value in changed for word in ("--set", f"{name}.{field}={value}")]


def _changed(fields: Mapping[str, Any], default: BaseModel) -> Iterator[tuple[str, str]]:
    """Fields that differ from `default`, as the command line takes them."""
    defaults = default.model_dump(mode="json")
    for field, value in fields.items():
        if value != defaults.get(field):
            yield field, value if isinstance(value, str) else json.dumps(value)
