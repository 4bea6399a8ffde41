"""What the machine and the terminal ask of a long job: cores, memory, cache, stopping on Ctrl-C."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def available_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where graphs and downloads are kept: ``$SGURINIT_CACHE``, else the user's cache folder.

    Any file in it may be deleted at any time; it is made or fetched again when it is needed.
    """
    named = os.environ.get("SGURINIT_CACHE")
    if named:
        return Path(named)
    from platformdirs import user_cache_path  # noqa: PLC0415 - the bare package goes without

    return user_cache_path("sgurinit", appauthor=False)


def keep_freed_memory() -> None:
    """Have this process reuse freed memory rather than hand it back to the system.

    A training step allocates and frees the same tables every time. With glibc's defaults each of
    them is fresh from the system, page by page, which costs as much as the arithmetic. For
    processes that are ours alone; a host process decides for itself. Without effect elsewhere than
    on glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(trim_threshold, 1 << 30)
    mallopt(mmap_threshold, 1 << 30)


@contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """Let Ctrl-C out as ``KeyboardInterrupt``.

    Lightning turns it into ``SystemExit`` and has the process ignore further ones; both are undone.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main and handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Start processes inside that leave Ctrl-C to their parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
