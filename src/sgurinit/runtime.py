"""The machine and the terminal: cores, memory, the cache folder, and Ctrl-C."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pkgutil
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NoReturn

from sgurinit.errors import MemoryInputError


def count_cores() -> int:
    """Count the cores that this process can use; in a container they can be fewer than all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_cache_folder() -> Path:
    """Return the folder for graphs and downloads: ``$SGURINIT_CACHE``, or the user's cache folder.

    Every file in it can be deleted at any time; it is computed or downloaded again when needed.
    """
    named = os.environ.get("SGURINIT_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_path  # noqa: PLC0415 - not in the bare package

    return user_cache_path("sgurinit", appauthor=False)


def keep_freed_memory() -> None:
    """Make this process reuse freed memory instead of returning it to the system.

    Every training step allocates and frees tables of the same sizes. With glibc's defaults their
    pages come from the system each time, which costs as much as the arithmetic. Only call this in a
    process that belongs to this library. It has no effect without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(trim_threshold, 1 << 30)
    mallopt(mmap_threshold, 1 << 30)


@contextmanager
def explain_memory_errors() -> Iterator[None]:
    """Context manager: raise an `InputError` where building or training a model lacks memory.

    NumPy raises ``MemoryError``; torch raises ``RuntimeError`` on the CPU and a class derived from
    it on other devices.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        signs = ("out of memory", "allocate memory", "bad_alloc", "ALLOC_FAILED")
        is_torch = any(sign in text for sign in signs)  # the last from cuBLAS and cuSPARSE
        if not isinstance(error, MemoryError) and not is_torch:
            raise
        wanted = re.search(r"allocate ([\d.,]*\d)\.? (\w+)", text)
        asked = f" ({wanted[1]} {wanted[2]} were asked for)" if wanted else ""
        raise MemoryInputError(
            f"width or batch_size is too large for the memory{asked}; lower it, or run fewer jobs "
            "at a time"
        ) from error


class Terminated(KeyboardInterrupt):
    """Another process asked this one to end, by SIGTERM. It ends as with Ctrl-C."""


def raise_termination(*_: object) -> NoReturn:
    """Raise `Terminated`: the handler of SIGTERM."""
    raise Terminated


@contextmanager
def raise_keyboard_interrupts() -> Iterator[None]:
    """Context manager: raise ``KeyboardInterrupt`` on Ctrl-C while Lightning trains.

    Lightning raises ``SystemExit`` instead and ignores further interrupts. Both are undone here,
    for `Terminated` too.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise type(stop.__context__) from None
        raise
    finally:
        if in_main and handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Context manager: processes created inside it ignore Ctrl-C and leave it to their parent.

    A Ctrl-C that arrives inside is raised at the end. The processes inherit a blocked signal; where
    signals cannot be blocked, as on Windows, they do not ignore it.
    """
    arrived: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    # Blocking is not enough here: another thread of this process can receive the signal.
    if handler is not None:
        signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    try:
        with _block_interrupts():
            yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        if arrived:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started before, because it unblocks the signal when it is started.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_as_worker(place: str, *args: Any) -> None:
    """Call a function in a process that ends as soon as its parent does.

    Use it as the target of a worker process. It needs no import that takes long, so the process
    also ends if the parent dies while the module of the function is imported.

    Parameters
    ----------
    place : str
        Module and name of the function, as ``"package.module:function"``.
    *args
        Its arguments.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pkgutil.resolve_name(place)(*args)
    except ConnectionError:
        sys.exit(1)  # the parent has closed its link: it is ending, and says why
    except (EOFError, OSError):
        _end_with_parent(wait_s=1)  # a link to a parent that is gone
        raise


def _end_with_parent(wait_s: float | None = None) -> None:
    """Exit when the parent process is gone, so that no orphan keeps writing to the folders."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join(wait_s)
        if not parent.is_alive():
            os._exit(1)
