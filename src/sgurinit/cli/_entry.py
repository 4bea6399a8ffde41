"""The entry point of the command line, with all of its commands."""

from __future__ import annotations

from sgurinit.cli import data, datasets, experiments, starts  # noqa: F401 - they add commands
from sgurinit.cli.app import app
from sgurinit.runtime import keep_freed_memory


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    app()
