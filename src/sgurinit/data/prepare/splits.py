"""Splits into train, valid and test as in the literature, and a check for leaks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.data.dataset import SPLITS
from sgurinit.data.prepare.log import Log
from sgurinit.errors import InputError
from sgurinit.seeds import make_generator

Labels = NDArray[np.uint8]
Ratios = tuple[int, int, int]
Splitter = Callable[[Log, Ratios, np.random.Generator], Labels]

_SHORT = 10  # histories below this length give two interactions away, whatever the shares


def split_log(log: Log, split: str, ratios: Ratios = (8, 1, 1), seed: int = 0) -> Labels:
    """Split a log into train (0), valid (1) and test (2).

    Parameters
    ----------
    log : Log
        The log, each pair once, sorted by user.
    split : str
        How to split, a name in `SPLIT_METHODS`.
    ratios : (int, int, int), default (8, 1, 1)
        Shares of train, valid and test. ``"leave-one-out"`` does not use them.
    seed : int, default 0
        Seed of everything random. With ``"user-time"`` and ``"leave-one-out"`` it orders
        simultaneous interactions.

    Returns
    -------
    ndarray of uint8, shape (n,)
        The label of each interaction.

    Raises
    ------
    InputError
        If `split` is unknown or needs times and the log has none, or if a split with a share is
        empty.
    """
    if split not in SPLIT_METHODS:
        raise InputError(f"split is {split!r}, allowed are {', '.join(SPLIT_METHODS)}")
    if split in _TIMED and log.time is None:
        raise InputError(
            f'split is {split!r}, but the log has no column of times; name it as `columns["time"]`'
        )
    labels = SPLIT_METHODS[split](log, ratios, make_generator(seed, "split", split))
    counts = np.bincount(labels, minlength=3)
    for name, count, share in zip(SPLITS, counts, ratios, strict=True):
        if count == 0 and share:
            raise InputError(
                f"split is {split!r}: {name} is empty with {len(log)} interactions; keep more of "
                "the log, or split it in another way"
            )
    return labels


def check_leakage(log: Log, labels: Labels, split: str) -> None:
    """Refuse a split in which training sees the future, or a held-out pair, user or item.

    Raises
    ------
    InputError
        Naming a user or an item with leaking interactions.
    """
    key = log.users.astype(np.int64) * len(log.item_ids) + log.items
    repeated = key[1:] <= key[:-1]
    if repeated.any():
        at = int(repeated.argmax()) + 1
        user, item = log.user_ids[int(log.users[at])], log.item_ids[int(log.items[at])]
        raise _leak(f"user {user} has item {item} twice, or the log is not sorted")
    if split in ("user-time", "leave-one-out"):
        _check_times(log, labels, log.users, len(log.user_ids), strict=False)
    elif split == "time":
        _check_times(log, labels, np.zeros(len(log), dtype=np.uint32), 1, strict=True)
    elif split in ("cold-items", "cold-users"):
        codes, ids = _codes_and_ids(log, split)
        seen = [np.bincount(codes[labels == s], minlength=len(ids)) > 0 for s in range(3)]
        both = np.flatnonzero(np.sum(seen, axis=0) > 1)
        if both.size:
            raise _leak(f"{split[5:-1]} {ids[int(both[0])]} is in more than one split")


def _check_times(
    log: Log, labels: Labels, groups: NDArray[np.uint32], n_groups: int, *, strict: bool
) -> None:
    """Check that no training interaction of a group comes after a held-out one."""
    assert log.time is not None  # noqa: S101 - `split_log` checked it
    whole = log.time.dtype.kind == "i"
    limits = np.iinfo(np.int64) if whole else np.finfo(np.float64)
    latest = np.full((3, n_groups), limits.min, dtype=log.time.dtype)
    earliest = np.full((3, n_groups), limits.max, dtype=log.time.dtype)
    for number in range(3):
        rows = labels == number
        np.maximum.at(latest[number], groups[rows], log.time[rows])
        np.minimum.at(earliest[number], groups[rows], log.time[rows])
    earliest[1] = np.minimum(earliest[1], earliest[2])
    for one, other in pairwise(range(3)):
        late = latest[one] >= earliest[other] if strict else latest[one] > earliest[other]
        if late.any():
            who = f"of user {log.user_ids[int(late.argmax())]} " if n_groups > 1 else ""
            raise _leak(f"an interaction {who}in {SPLITS[one]} is later than a held-out one")


def _leak(what: str) -> InputError:
    return InputError(f"the split leaks: {what}; nothing was written")


def _split_random(log: Log, ratios: Ratios, rng: np.random.Generator) -> Labels:
    return _hold_out_last(log, rng.random(len(log)), ratios)


def _split_by_user_time(log: Log, ratios: Ratios, rng: np.random.Generator) -> Labels:
    return _hold_out_last(log, _rank_by_time(log, rng), ratios)


def _split_last_two(log: Log, _ratios: Ratios, rng: np.random.Generator) -> Labels:
    from_last = _count_later(log, _rank_by_time(log, rng))
    degrees = log.degrees()[0][log.users]
    test = (from_last == 0) & (degrees > 1)
    valid = (from_last == 1) & (degrees > 2)
    labels: Labels = (2 * test + valid).astype(np.uint8)
    return labels


def _split_by_time(log: Log, ratios: Ratios, _rng: np.random.Generator) -> Labels:
    """Cut at two moments. Simultaneous interactions stay together."""
    assert log.time is not None  # noqa: S101 - `split_log` checked it
    times, total = np.sort(log.time), sum(ratios)
    ends = [len(times) * part // total for part in (ratios[0], ratios[0] + ratios[1])]
    cuts = [times[min(end, len(times) - 1)] for end in ends]
    if ratios[2] == 0:
        del cuts[1]
    return np.searchsorted(cuts, log.time, side="right").astype(np.uint8)


def _cold_splitter(split: str) -> Splitter:
    def split_cold(log: Log, ratios: Ratios, rng: np.random.Generator) -> Labels:
        codes, ids = _codes_and_ids(log, split)
        used = np.flatnonzero(np.bincount(codes, minlength=len(ids)))
        shares = np.cumsum(ratios) * len(used) // sum(ratios)
        labels = np.zeros(len(ids), dtype=np.uint8)
        labels[rng.permutation(used)] = np.repeat(
            np.arange(3, dtype=np.uint8), np.diff(shares, prepend=0)
        )
        return np.asarray(labels[codes])

    return split_cold


def _codes_and_ids(log: Log, split: str) -> tuple[NDArray[np.uint32], Any]:
    return (log.items, log.item_ids) if split == "cold-items" else (log.users, log.user_ids)


def _rank_by_time(log: Log, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rank interactions by time. The order of simultaneous ones is drawn."""
    assert log.time is not None  # noqa: S101 - `split_log` checked it
    order = np.lexsort((rng.random(len(log)), log.time))
    rank = np.empty(len(log), dtype=np.int64)
    rank[order] = np.arange(len(log))
    return rank


def _count_later(log: Log, key: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of interactions of the same user that come later by `key`."""
    order = np.lexsort((key, log.users))
    ends = np.cumsum(log.degrees()[0])
    places = np.empty(len(log), dtype=np.int64)
    places[order] = ends[log.users] - 1 - np.arange(len(log))  # `users` are sorted already
    return places


def _hold_out_last(log: Log, key: NDArray[Any], ratios: Ratios) -> Labels:
    """Hold out each user's last interactions by `key`.

    At 8:1:1 this is LATTICE's rule (CRIPAC-DIG/LATTICE, data/build_data.py). A history of ten or
    more interactions gives the integer part of its held-out share away, a shorter one gives two,
    and every user keeps at least one. Test takes the integer part of its share of these, and
    validation the others.
    """
    held_share = ratios[1] + ratios[2]
    degrees = log.degrees()[0]
    held = np.where(degrees < _SHORT, 2 if held_share else 0, degrees * held_share // sum(ratios))
    held = np.minimum(held, np.maximum(degrees - 1, 0))
    test = held * ratios[2] // max(held_share, 1)
    from_last = _count_later(log, key)
    held_out, tested = from_last < held[log.users], from_last < test[log.users]
    return np.add(held_out, tested, dtype=np.uint8)


SPLIT_METHODS: dict[str, Splitter] = {
    "random": _split_random,
    "leave-one-out": _split_last_two,
    "user-time": _split_by_user_time,
    "time": _split_by_time,
    "cold-items": _cold_splitter("cold-items"),
    "cold-users": _cold_splitter("cold-users"),
}
"""Ways to split a log, by name; `prepare` describes them."""

_TIMED = ("leave-one-out", "user-time", "time")
