"""The command line. Every command is a few lines that call the library."""

from __future__ import annotations

from sgurinit.cli._entry import main
from sgurinit.cli.app import app

__all__ = ["app", "main"]
