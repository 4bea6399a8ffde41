"""The entry point of the command line, with all of its commands."""

from __future__ import annotations

import io
import signal
import sys

from sgurinit.cli import data, datasets, experiments, starts  # noqa: F401 - they add commands
from sgurinit.cli.app import app, refuse_undecoded
from sgurinit.runtime import keep_freed_memory, raise_termination


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
    finally:
        # What arrives while Python ends is obeyed silently.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
