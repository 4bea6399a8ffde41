"""Filters of a log: minimum value, de-duplication, k-core."""

from __future__ import annotations

import numpy as np

from sgurinit.data.prepare.log import Log
from sgurinit.errors import InputError


def filter_by_value(log: Log, min_value: float) -> Log:
    """Keep the interactions with a value of at least `min_value`.

    Raises
    ------
    InputError
        If the log has no values.
    """
    if log.value is None:
        raise InputError(
            f"min_value is {min_value:g}, but the log has no column of values; name it as "
            '`columns["value"]`'
        )
    return log.take(log.value >= min_value)


def drop_repeated_pairs(log: Log) -> Log:
    """Sort by user and item, and keep only the first interaction of each pair.

    The first is the earliest, or without times the first in the log.
    """
    keys = (log.items, log.users) if log.time is None else (log.time, log.items, log.users)
    log = log.take(np.lexsort(keys))  # a stable sort, so the order of the log breaks ties
    new = np.ones(len(log), dtype=bool)
    new[1:] = (log.users[1:] != log.users[:-1]) | (log.items[1:] != log.items[:-1])
    return log if new.all() else log.take(new)


def filter_k_core(log: Log, per_user: int, per_item: int) -> tuple[Log, int]:
    """Drop users and items with too few interactions, repeatedly, until none is left.

    The result is the largest part of the log in which each user has at least `per_user`, and each
    item at least `per_item`, interactions. It does not depend on the order of dropping.

    Returns
    -------
    log : Log
        The k-core.
    rounds : int
        Number of rounds in which something was dropped.
    """
    rounds = 0
    while True:
        of_users, of_items = log.degrees()
        kept = (of_users >= per_user)[log.users] & (of_items >= per_item)[log.items]
        if kept.all():
            return log, rounds
        log, rounds = log.take(kept), rounds + 1
