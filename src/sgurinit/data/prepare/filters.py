"""What of a log is kept: strong values, each pair once, those with enough company."""

from __future__ import annotations

import numpy as np

from sgurinit.data.prepare.log import Log
from sgurinit.errors import InputError


def above(log: Log, least: float) -> Log:
    """Keep interactions whose value is at least `least`.

    Raises
    ------
    InputError
        If the log has no values.
    """
    if log.value is None:
        raise InputError(
            f"min_value is {least:g}, but the log has no column of values; name it as "
            '`columns["value"]`'
        )
    return log.take(log.value >= least)


def once(log: Log) -> Log:
    """Sort by user and item and keep each pair once: its earliest, or first, interaction."""
    keys = (log.items, log.users) if log.time is None else (log.time, log.items, log.users)
    log = log.take(np.lexsort(keys))  # stable, so that without times the first stays first
    new = np.ones(len(log), dtype=bool)
    new[1:] = (log.users[1:] != log.users[:-1]) | (log.items[1:] != log.items[:-1])
    return log if new.all() else log.take(new)


def core(log: Log, per_user: int, per_item: int) -> tuple[Log, int]:
    """Drop users and items with too few interactions until none has.

    What is left is the largest part of the log in which each user has at least `per_user` and each
    item at least `per_item` interactions; the order of dropping does not matter.

    Returns
    -------
    log : Log
    rounds : int
        How often something was dropped.
    """
    rounds = 0
    while True:
        of_users, of_items = log.degrees()
        kept = (of_users >= per_user)[log.users] & (of_items >= per_item)[log.items]
        if kept.all():
            return log, rounds
        log, rounds = log.take(kept), rounds + 1
