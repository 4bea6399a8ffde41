"""Frameworks are optional: a missing one says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, extra: str) -> Any:
    """Import a framework, or say which extra brings it.

    Raises
    ------
    ImportError
        When the framework itself is missing; what it misses in turn is passed on as it is.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(
            f"{module} is not installed: pip install 'sgurinit[{extra}]'", name=error.name
        ) from error
