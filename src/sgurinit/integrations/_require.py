"""Import optional frameworks; a missing one raises an error that says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import a framework.

    Parameters
    ----------
    module : str
        Name of the module to import.
    extra : str
        The extra of this library that installs it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        The framework is missing; the message names the extra. An import error inside the framework
        is passed on unchanged.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(
            f"{module} is not installed: pip install 'sgurinit[{extra}]'", name=error.name
        ) from error
