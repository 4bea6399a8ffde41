"""The resolver that finds a model's class by its name."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

from class_resolver import ClassResolver

from sgurinit.models.base import Recommender

# Every file of this folder is imported, so that a new file is enough for a model to be found.
for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    import_module(f"{__package__}.{_module.name}")

model_resolver: ClassResolver[Recommender] = ClassResolver.from_subclasses(
    Recommender,  # type: ignore[type-abstract]
    suffix="",
    exclude_predicate=inspect.isabstract,
)
