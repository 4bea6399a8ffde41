"""How long work tells of itself."""

from __future__ import annotations

from collections.abc import Callable

# Called with what is done, how much of it, and how much there is: 0 where nobody knows.
Listener = Callable[[str, int, int], None]


def ignore(stage: str, done: int, total: int) -> None:
    """Listen to nothing."""
