"""Arguments of public functions, checked before they are used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from sgurinit.errors import InputError


def check_integer(value: object, name: str, least: int) -> int:
    """Return an integer of Python or NumPy as an int.

    Raises
    ------
    InputError
        The value is of another type, a truth value among them, or below `least`.

    Examples
    --------
    >>> check_integer(3, "jobs", 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise InputError(f"{name} is {value!r:.200}, expected an integer of at least {least}")
    return int(value)


def check_path(value: object, name: str) -> Path:
    """Return a path.

    Raises
    ------
    InputError
        The value is neither text nor a path, or has a NUL character.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise InputError(f"{name} is {value!r:.200}, expected a path: a str or a pathlib.Path")
    if "\0" in text:
        raise InputError(f"{name} is {text!r:.200}, expected a path without NUL characters")
    return Path(text)


def check_callable(value: object, name: str) -> None:
    """Refuse what cannot be called.

    Raises
    ------
    InputError
        The value is not callable.
    """
    if not callable(value):
        raise InputError(f"{name} is {value!r:.200}, expected a function")


def check_list(value: object, name: str) -> list[Any]:
    """Return the entries of a list, a tuple, an array or another iterable.

    Raises
    ------
    InputError
        The value is a text, a mapping or not iterable.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{name} is {value!r:.200}, expected a list")
    return list(value)


def check_fields(value: object, name: str) -> Mapping[str, Any]:
    """Return a mapping of fields.

    Raises
    ------
    InputError
        The value is not a mapping, or one of its keys is not text.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {value!r:.200}, expected a mapping from names to values")
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{name} has the key {key!r:.200}, expected the name of a field")
    return value
