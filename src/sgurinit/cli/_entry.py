"""The entry point of the command line, with all of its commands."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from types import FrameType

from sgurinit.cli import data, datasets, experiments, starts  # noqa: F401 - they add commands
from sgurinit.cli.app import app, refuse_undecoded
from sgurinit.runtime import Terminated, keep_freed_memory, raise_termination


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, raise_termination)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal knows every letter
            stream.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    refuse_undecoded(sys.argv[1:])
    try:
        app()
    except KeyboardInterrupt as stop:  # a second signal, while the first one ended the command
        sys.exit(128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
            # Python restores the defaults of other handlers, then takes a while to unload modules.
            atexit.register(signal.signal, number, signal.SIG_IGN)


def _end_at_once(number: int, _: FrameType | None) -> None:
    """Obey a signal that arrives after the command, while threads end: silently."""
    os._exit(128 + number)
