"""One resolver: a name, a class or an instance becomes a model, an initializer or a data set.

Python, the command line and files of settings all go through here, so they name things alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from class_resolver import ClassResolver
from pydantic import BaseModel, ValidationError

from sgurinit.arms import Initializer, arm_names, arm_resolver
from sgurinit.data import Dataset, load_dataset
from sgurinit.errors import InputError
from sgurinit.models import Recommender, RecommenderConfig, models

Found = TypeVar("Found")
Settings = TypeVar("Settings", bound=BaseModel)


def resolve_dataset(data: Dataset | str | Path) -> Dataset:
    """Data set, given itself, its path or the name of an embedded one."""
    return data if isinstance(data, Dataset) else load_dataset(data)


def resolve_model(model: str | type[Recommender]) -> type[Recommender]:
    """Model class, given itself or its name (``"lightgcn"``; case and dashes do not matter)."""
    return _lookup(models, model, "model", sorted(models.options))


def resolve_config(
    model: type[Recommender], fields: Mapping[str, Any] | RecommenderConfig | None = None
) -> RecommenderConfig:
    """Config of `model` from some of its fields; the others keep their defaults."""
    if isinstance(fields, RecommenderConfig):
        return fields
    return build(model.Config, fields or {}, prefix=model_name(model))


def resolve_initializer(
    initializer: str | type[Initializer] | Initializer, fields: Mapping[str, Any] | None = None
) -> Initializer:
    """Initializer, given itself, its class or its name (``"sgurinit"``), and its fields.

    Fields go with a class or a name, never with an instance.
    """
    if isinstance(initializer, Initializer):
        if fields:
            raise InputError("give an initializer object or its fields, not both")
        return initializer
    found = _lookup(arm_resolver, initializer, "arm", arm_names())
    fields = fields or {}
    for field in found.fixed & set(fields):
        value = found.model_fields[field].default
        if fields[field] != value:
            raise InputError(
                f"{found.name}.{field} is {fields[field]!r}: fixed at {value}, which makes the arm "
                "what it is"
            )
    return build(found, fields, prefix=found.name)


def model_name(model: type[Recommender]) -> str:
    """Name that the resolver knows `model` by."""
    return models.normalize_cls(model)


def build(settings: type[Settings], fields: Mapping[str, Any], *, prefix: str) -> Settings:
    """Make a settings object; a bad field becomes one line that names ``prefix.field``.

    Raises
    ------
    InputError
        A field is unknown or its value is out of range.
    """
    try:
        return settings(**fields)
    except ValidationError as error:
        first, *others = error.errors()
        place, message = list(first["loc"]), first["msg"]
        for other in others:  # what else the field could have held has an error of its own
            if other["loc"][0] == place[0] and other["input"] is first["input"]:
                place = [a for a, b in zip(place, other["loc"], strict=False) if a == b]
                message += f", or: {other['msg']}"
        field = ".".join([prefix, *map(str, place)])
        if first["type"] == "extra_forbidden":
            known = ", ".join(settings.model_fields) or "no fields"
            raise InputError(f"{field} does not exist; {prefix} has {known}") from None
        raise InputError(f"{field} is {first['input']!r}: {message}") from None


def _lookup(
    resolver: ClassResolver[Found], query: str | type[Found], kind: str, known: Sequence[str]
) -> type[Found]:
    try:
        return resolver.lookup(query)
    except (KeyError, TypeError, ValueError):
        names = ", ".join(known)
        raise InputError(f"{kind} {query!r} does not exist; known: {names}") from None
