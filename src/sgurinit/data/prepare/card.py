"""What was done to a log, step by step, and what was left of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.data.dataset import SPLITS
from sgurinit.data.prepare.log import Log


@dataclass(frozen=True)
class Step:
    """A state of the log."""

    name: str
    """What had just been done."""
    interactions: int
    """Interactions that were left."""
    users: int
    """Users with an interaction."""
    items: int
    """Items with an interaction."""


@dataclass(frozen=True)
class Card:
    """How a data set was made; `card.json` in its folder."""

    name: str
    source: str
    """File name of the log."""
    recognised: str
    """What the log was recognised as, and its columns."""
    options: dict[str, Any]
    """What was asked for."""
    steps: tuple[Step, ...]
    """States of the log, in order; the first is the log as it was read."""
    splits: dict[str, Step]
    """Interactions, users and items of each split."""
    test_pairs_on_untrained_items: int
    """Test interactions whose item has none in training."""
    test_pairs_of_untrained_users: int
    """Test interactions whose user has none in training."""
    items_described: int | None
    """Items that the table of items knows; None without such a table."""
    versions: dict[str, str]
    """Versions of what computed it."""
    left_out: tuple[str, ...] = ()
    """Columns of the log, and vectors in the table of items where no features were asked for, that
    nothing was taken from."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)


def step(name: str, log: Log) -> Step:
    """Count a log."""
    users, items = log.degrees()
    return Step(name, len(log), int(np.count_nonzero(users)), int(np.count_nonzero(items)))


def split_steps(log: Log, labels: NDArray[np.uint8]) -> dict[str, Step]:
    """Count each split."""
    return {name: step(name, log.take(labels == n)) for n, name in enumerate(SPLITS)}


def untrained(log: Log, labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Count test interactions on items, and of users, without training interactions."""
    users, items = log.take(labels == 0).degrees()
    test = log.take(labels == 2)
    return (
        int(np.count_nonzero(items[test.items] == 0)),
        int(np.count_nonzero(users[test.users] == 0)),
    )
