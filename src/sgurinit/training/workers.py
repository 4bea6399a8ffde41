"""Messages between this process and its workers, and the classes that both know."""

from __future__ import annotations

import pkgutil
from multiprocessing.connection import Connection
from typing import Any

from sgurinit.errors import InputError


def send(link: Connection, message: Any) -> None:
    """Send to a worker process.

    Raises
    ------
    InputError
        It has died.
    """
    try:
        link.send(message)
    except OSError:
        raise _dead_worker() from None


def receive(link: Connection) -> Any:
    """Receive from a worker process.

    Raises
    ------
    InputError
        The process has died, or it sends this error.
    """
    try:
        message = link.recv()
    except (EOFError, OSError):
        raise _dead_worker() from None
    if isinstance(message, InputError):
        raise message
    return message


def _dead_worker() -> InputError:
    return InputError(
        "a worker process died, perhaps because memory ran out (see the latest log.txt), or "
        'because a script has no `if __name__ == "__main__":` around its code; run again with '
        "fewer jobs or devices to resume"
    )


def locate_class(found: type, what: str) -> str:
    """Return where a class is imported from. A new process only knows the library.

    Raises
    ------
    InputError
        It cannot be imported from there.
    """
    place = f"{found.__module__}:{found.__qualname__}"
    if import_class(place, what) is not found:
        raise _not_importable(place, what)
    return place


def import_class(place: str, what: str) -> Any:
    """Import a class from where `locate_class` has found it.

    Raises
    ------
    InputError
        It cannot be imported.
    """
    try:
        return pkgutil.resolve_name(place)
    except Exception:  # importing a module can raise anything
        raise _not_importable(place, what) from None


def _not_importable(place: str, what: str) -> InputError:
    return InputError(
        f"a worker process cannot import the {what} {place}; define it at the top level of a "
        "module (a .py file), or use jobs=1 and devices=1"
    )
