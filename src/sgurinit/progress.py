"""Progress callbacks of long computations."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is (0 if unknown)."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress, the default callback."""
