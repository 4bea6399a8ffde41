"""Names, classes and instances resolved to models, initializers and data sets.

Python, the command line and settings files all use these functions, so names and errors are the
same everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from class_resolver import ClassResolver
from pydantic import BaseModel, ValidationError

from sgurinit.arguments import check_fields
from sgurinit.arms import Initializer, arm_names, arm_resolver
from sgurinit.data import Dataset, load_dataset
from sgurinit.errors import InputError
from sgurinit.models import Recommender, RecommenderConfig, model_resolver

_OWN_MODEL = "; your own model: pass its class, or call sgurinit.models.register_model on it first"

_Class = TypeVar("_Class")
_Settings = TypeVar("_Settings", bound=BaseModel)


def resolve_dataset(data: Dataset | str | Path) -> Dataset:
    """Return a data set.

    Parameters
    ----------
    data : Dataset, path or str
        A data set, its path, or the name of one that comes with the library.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        The data are neither a data set nor a path, or cannot be read, see
        `sgurinit.load_dataset`.

    Examples
    --------
    >>> resolve_dataset("xwines").name
    'xwines'
    """
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, str | os.PathLike):
        raise InputError(
            f"dataset is of type {type(data).__name__}, expected a Dataset, its folder or its name"
        )
    return load_dataset(data)


def resolve_model(model: str | type[Recommender]) -> type[Recommender]:
    """Return a model class.

    Parameters
    ----------
    model : str or type
        The class, also your own, or its name. Upper case, lower case and dashes make no
        difference.

    Returns
    -------
    type
        A subclass of `Recommender`.

    Raises
    ------
    InputError
        There is no such model (the message lists the known ones), or the class is not a
        subclass of `Recommender`.

    Examples
    --------
    >>> resolve_model("light-gcn").__name__
    'LightGCN'
    """
    if isinstance(model, type) and not issubclass(model, Recommender):
        raise InputError(
            f"model {model.__name__} is not a subclass of sgurinit.models.Recommender; derive it, "
            "or fill the tables of any torch module with sgurinit.integrations.torch.attach"
        )
    if isinstance(model, Recommender):
        raise InputError(f"model is an instance of {type(model).__name__}; pass the class")
    return _lookup(model_resolver, model, "model", sorted(model_resolver.options), _OWN_MODEL)


def resolve_config(
    model: type[Recommender], fields: Mapping[str, Any] | RecommenderConfig | None = None
) -> RecommenderConfig:
    """Return a config of a model.

    Parameters
    ----------
    model : type
        A subclass of `Recommender`.
    fields : mapping or RecommenderConfig, optional
        Some fields of the config; the others keep their defaults. A whole config is returned as it
        is.

    Returns
    -------
    RecommenderConfig

    Raises
    ------
    InputError
        A field is unknown or its value is out of range, or the config is not a mapping or that of
        another model.

    Examples
    --------
    >>> resolve_config(resolve_model("lightgcn"), {"width": 32}).width
    32
    """
    name = model_name(model)
    if isinstance(fields, model.Config):
        return fields
    if isinstance(fields, RecommenderConfig):
        raise InputError(
            f"config is a {type(fields).__qualname__}, expected fields or the "
            f"{model.Config.__qualname__} of {name}"
        )
    return build(model.Config, {} if fields is None else fields, prefix=name)


def resolve_initializer(
    initializer: str | type[Initializer] | Initializer, fields: Mapping[str, Any] | None = None
) -> Initializer:
    """Return an initializer.

    Parameters
    ----------
    initializer : str, type or Initializer
        An initializer, its class or its name.
    fields : mapping, optional
        Some fields of the initializer; the others keep their defaults. Not allowed with an
        instance.

    Returns
    -------
    Initializer

    Raises
    ------
    InputError
        The name or a field is unknown, a value is out of range, or a fixed field is set.

    Examples
    --------
    >>> resolve_initializer("sgurinit", {"local_weight": 0.5}).local_weight
    0.5
    """
    if isinstance(initializer, Initializer):
        if fields:
            raise InputError("give an initializer object or its fields, not both")
        return initializer
    found = _lookup(arm_resolver, initializer, "arm", arm_names())
    fields = {} if fields is None else check_fields(fields, found.name)
    for field in found.fixed & set(fields):
        value = found.model_fields[field].default
        if fields[field] != value:
            raise InputError(
                f"{found.name}.{field} is {fields[field]!r}: fixed at {value}, which defines this "
                "arm; leave it out"
            )
    return build(found, fields, prefix=found.name)


def model_name(model: type[Recommender]) -> str:
    """Return the name that the resolver knows a model class by.

    Examples
    --------
    >>> model_name(resolve_model("LightGCN"))
    'lightgcn'
    """
    return model_resolver.normalize_cls(model)


def build(settings: type[_Settings], fields: Mapping[str, Any], *, prefix: str) -> _Settings:
    """Build a settings object; an error is one line that names ``prefix.field``.

    Parameters
    ----------
    settings : type
        A pydantic model class.
    fields : mapping
        Values of some of its fields; the others keep their defaults.
    prefix : str
        Name of the settings in messages.

    Returns
    -------
    BaseModel
        An instance of `settings`.

    Raises
    ------
    InputError
        A field is unknown or its value is out of range, or `fields` is not a mapping from names.
    """
    try:
        return settings(**check_fields(fields, prefix))
    except ValidationError as error:
        first, *others = error.errors()
        place, message = list(first["loc"]), first["msg"]
        for other in others:  # each alternative type of a field has a separate error
            if other["loc"][0] == place[0] and other["input"] is first["input"]:
                place = [a for a, b in zip(place, other["loc"], strict=False) if a == b]
                message += f", or: {other['msg']}"
        field = ".".join([prefix, *map(str, place)])
        if first["type"] == "extra_forbidden":
            known = ", ".join(settings.model_fields) or "no fields"
            raise InputError(f"{field} does not exist; {prefix} has {known}") from None
        raise InputError(f"{field} is {first['input']!r:.200}: {message}") from None


def _lookup(
    resolver: ClassResolver[_Class],
    query: str | type[_Class],
    kind: str,
    known: Sequence[str],
    advice: str = "",
) -> type[_Class]:
    try:
        return resolver.lookup(query)
    except (KeyError, TypeError, ValueError):
        names = ", ".join(known)
        raise InputError(f"{kind} {query!r} does not exist; known: {names}{advice}") from None
