"""Claims: one process at a time writes to a folder, and a second one learns who does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

from sgurinit.errors import InputError

_LOCK, _OWNER = ".lock", ".owner.json"


@contextmanager
def claim_folder(folder: Path, name: Path | None = None, *, wait: bool = False) -> Iterator[None]:
    """Context manager: reserve a folder for this process.

    The system ends the claim of a process that was killed.

    Parameters
    ----------
    folder : Path
        The folder, created if missing.
    name : Path, optional
        What messages call the folder; itself by default.
    wait : bool, default False
        Whether to wait for a process that uses it, instead of an error.

    Raises
    ------
    InputError
        The folder cannot be created or written to, or another process uses it.
    """
    shown = folder if name is None else name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{shown}: expected a folder that can be created ({error.strerror})"
        ) from None
    lock, owner = FileLock(folder / _LOCK), folder / _OWNER
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise InputError(
            f"{shown}: another process is using it{_describe_owner(owner)}; wait for it or choose "
            "another folder"
        ) from None
    except OSError as error:
        raise InputError(
            f"{shown}: expected a folder that can be written to ({error.strerror})"
        ) from None
    try:
        with suppress(OSError):  # on a full disk the claim holds without it
            owner.write_text(json.dumps(_describe_this_process()), encoding="utf-8")
        yield
    finally:
        for path in (owner, folder / _LOCK):
            with suppress(OSError):
                path.unlink()
        lock.release()


@contextmanager
def claim_hidden(folder: Path, name: Path) -> Iterator[None]:
    """Context manager: reserve a hidden folder of unfinished work, and remove it if it is empty.

    See `claim_folder`; `name` is what messages call the folder.
    """
    try:
        with claim_folder(folder, name):
            yield
    finally:
        with suppress(OSError):  # something is left in it, or it could not be created
            folder.rmdir()


@contextmanager
def claim_file(path: Path) -> Iterator[None]:
    """Context manager: wait until nobody else writes in the folder of a file, and let none begin.

    The lock is the folder itself, so a killed process does not leave a file.
    """
    if fcntl is None:
        yield
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every network drive can lock a folder
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def clear_folder(folder: Path) -> bool:
    """Remove all of a claimed folder but the claim.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    bool
        Whether there was anything.
    """
    found = [path for path in folder.iterdir() if path.name not in {_LOCK, _OWNER}]
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(found)


def _describe_this_process() -> dict[str, str | int]:
    now = datetime.now().astimezone()
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": now.isoformat(" ", "seconds"),
    }


def _describe_owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {owner['process']} on {owner['host']} since {owner['since']}"
        return f": {who}, {owner['command']!r}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
