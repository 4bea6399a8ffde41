"""The command line. Every command is a few lines that call the library."""

from __future__ import annotations

from sgurinit.cli import data, datasets, experiments, starts  # noqa: F401 - their commands join
from sgurinit.cli.app import app
from sgurinit.runtime import keep_freed_memory

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    app()
