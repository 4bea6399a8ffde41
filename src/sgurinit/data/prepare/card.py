"""The card of a prepared data set: each step, and the counts after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.data.dataset import SPLITS
from sgurinit.data.prepare.log import Log


@dataclass(frozen=True)
class Step:
    """Counts of the log after a step.

    See Also
    --------
    Card : All steps of a prepared data set.
    """

    name: str
    """Name of the step."""
    interactions: int
    """Number of interactions."""
    users: int
    """Number of users with an interaction."""
    items: int
    """Number of items with an interaction."""


@dataclass(frozen=True)
class Card:
    """How a data set was prepared. `card.json` in its folder holds the same.

    See Also
    --------
    prepare : Makes a data set and its card.
    """

    name: str
    """Name of the data set."""
    source: str
    """File name of the log."""
    recognized_as: str
    """The kind of log, and its columns."""
    options: dict[str, Any]
    """The options of `prepare`."""
    steps: tuple[Step, ...]
    """Counts after each step, in order. The first are those of the log as read."""
    splits: dict[str, Step]
    """Counts of each split."""
    test_pairs_on_untrained_items: int
    """Number of test interactions whose item has no training interaction."""
    test_pairs_of_untrained_users: int
    """Number of test interactions whose user has no training interaction."""
    items_described: int | None
    """Number of items that the table of items describes. None without a table."""
    versions: dict[str, str]
    """Versions of the packages that computed it."""
    left_out: tuple[str, ...] = ()
    """Columns that were not used: of the log, and columns of vectors in the table of items if
    `features` was not given."""
    features: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of each modality in `features`: the number of `columns`, and of `items` with a vector."""
    possible_roles: dict[str, str] = field(default_factory=dict)
    """Columns in `left_out` that look like values or times, where the log has no column of that
    role: column name to ``"value"`` or ``"time"``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values that JSON can hold."""
        return asdict(self)


def count_log(name: str, log: Log) -> Step:
    """Count the interactions, users and items of a log."""
    users, items = log.degrees()
    return Step(name, len(log), int(np.count_nonzero(users)), int(np.count_nonzero(items)))


def count_splits(log: Log, labels: NDArray[np.uint8]) -> dict[str, Step]:
    """Count the interactions, users and items of each split."""
    return {name: count_log(name, log.take(labels == n)) for n, name in enumerate(SPLITS)}


def count_untrained(log: Log, labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Count the test interactions whose item, and whose user, has no training interaction."""
    users, items = log.take(labels == 0).degrees()
    test = log.take(labels == 2)
    return (
        int(np.count_nonzero(items[test.items] == 0)),
        int(np.count_nonzero(users[test.users] == 0)),
    )
