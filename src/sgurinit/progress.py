"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

# Called with the stage, how much of it is done, and how much there is: 0 where that is unknown.
ProgressCallback = Callable[[str, int, int], None]


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing: the default."""
