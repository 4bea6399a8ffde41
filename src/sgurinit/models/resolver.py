"""The resolver that finds a model's class by its name. Your own classes can be added."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

from class_resolver import ClassResolver

from sgurinit.errors import InputError
from sgurinit.models.base import Recommender

# Every file of this folder is imported, so that a new file is enough for a model to be found.
for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    import_module(f"{__package__}.{_module.name}")

model_resolver: ClassResolver[Recommender] = ClassResolver.from_subclasses(
    Recommender,  # type: ignore[type-abstract]
    suffix="",
    exclude_predicate=inspect.isabstract,
)


def register_model(model: type[Recommender]) -> str:
    """Make a model class known by its name, and return that name.

    A class that is defined again, as in a notebook, replaces its earlier definition.

    Parameters
    ----------
    model : type
        A subclass of `Recommender`.

    Returns
    -------
    str
        The name that the resolver knows the class by.

    Raises
    ------
    InputError
        The class is abstract, or another class has its name.

    See Also
    --------
    sgurinit.resolve.resolve_model : Finds a class by its name.

    Examples
    --------
    >>> from sgurinit.models import LightGCN
    >>> register_model(LightGCN)
    'lightgcn'
    """
    if inspect.isabstract(model):
        missing = ", ".join(sorted(model.__abstractmethods__))
        raise InputError(f"model {model.__name__} is abstract: it does not implement {missing}")
    name = model_resolver.normalize_cls(model)
    known = model_resolver.lookup_dict.get(name, model)
    if import_path(known) != import_path(model):
        raise InputError(
            f"model {import_path(model)} has the name of {import_path(known)}, {name!r}; "
            "rename your class"
        )
    model_resolver.lookup_dict[name] = model
    return name


def import_path(model: type[Recommender]) -> str:
    """Return module and name of a class, such as ``sgurinit.models.lightgcn.LightGCN``."""
    return f"{model.__module__}.{model.__qualname__}"


def comes_with_library(name: str) -> bool:
    """Whether a model is one of the library's own, so that every process knows it by its name."""
    model = model_resolver.lookup_dict.get(name)
    return model is not None and model.__module__.startswith(f"{__package__}.")
