"""Who is trained on what: the splits of the literature, and a check that nothing leaks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.data.dataset import SPLITS
from sgurinit.data.prepare.log import Log
from sgurinit.errors import InputError
from sgurinit.seeds import generator

Labels = NDArray[np.uint8]
Ratios = tuple[int, int, int]

_SHORT = 10  # a history below it gives two interactions away, whatever the shares


def split(log: Log, kind: str, ratios: Ratios = (8, 1, 1), seed: int = 0) -> Labels:
    """Divide a log into train (0), valid (1) and test (2).

    Parameters
    ----------
    log : Log
        Each pair once, sorted by user.
    kind : str
        A name in `KINDS`.
    ratios : tuple of int
        Shares of train, valid and test; ``leave-one-out`` has none.
    seed : int
        Of what is drawn; of ``user-time`` and ``leave-one-out``, which of simultaneous interactions
        is later.

    Returns
    -------
    ndarray of uint8, shape (n,)

    Raises
    ------
    InputError
        If the kind is unknown, needs times and there are none, or a split with a share is empty.
    """
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}, allowed are {', '.join(KINDS)}")
    if kind in _TIMED and log.time is None:
        raise InputError(
            f'kind is {kind!r}, but the log has no column of times; name it as `columns["time"]`'
        )
    labels = KINDS[kind](log, ratios, generator(seed, "split", kind))
    counts = np.bincount(labels, minlength=3)
    for name, count, share in zip(SPLITS, counts, ratios, strict=True):
        if count == 0 and share:
            raise InputError(
                f"kind is {kind!r}: {name} is empty with {len(log)} interactions; keep more of the "
                "log, or split it in another way"
            )
    return labels


def check_leakage(log: Log, labels: Labels, kind: str) -> None:
    """Look at a finished split and refuse one that tells the future, or the same pair twice.

    Raises
    ------
    InputError
        Naming a user or an item whose interactions are on both sides.
    """
    key = log.users.astype(np.int64) * len(log.item_ids) + log.items
    repeated = key[1:] <= key[:-1]
    if repeated.any():
        at = int(repeated.argmax()) + 1
        user, item = log.user_ids[int(log.users[at])], log.item_ids[int(log.items[at])]
        raise _leak(f"user {user} has item {item} twice, or the log is not in order")
    if kind in ("user-time", "leave-one-out"):
        _check_times(log, labels, log.users, len(log.user_ids), strict=False)
    elif kind == "time":
        _check_times(log, labels, np.zeros(len(log), dtype=np.uint32), 1, strict=True)
    elif kind in ("cold-items", "cold-users"):
        codes, ids = _side(log, kind)
        seen = [np.bincount(codes[labels == s], minlength=len(ids)) > 0 for s in range(3)]
        both = np.flatnonzero(np.sum(seen, axis=0) > 1)
        if both.size:
            raise _leak(f"{kind[5:-1]} {ids[int(both[0])]} is in more than one split")


def _check_times(
    log: Log, labels: Labels, groups: NDArray[np.uint32], n_groups: int, *, strict: bool
) -> None:
    """Nothing of a group that is trained on may come after what it is tested on."""
    assert log.time is not None  # noqa: S101 - `split` made sure
    latest = np.full((3, n_groups), np.iinfo(np.int64).min)
    earliest = np.full((3, n_groups), np.iinfo(np.int64).max)
    for number in range(3):
        rows = labels == number
        np.maximum.at(latest[number], groups[rows], log.time[rows])
        np.minimum.at(earliest[number], groups[rows], log.time[rows])
    earliest[1] = np.minimum(earliest[1], earliest[2])
    for one, other in pairwise(range(3)):
        late = latest[one] >= earliest[other] if strict else latest[one] > earliest[other]
        if late.any():
            who = f"of user {log.user_ids[int(late.argmax())]} " if n_groups > 1 else ""
            raise _leak(f"an interaction {who}in {SPLITS[one]} is later than one held out")


def _leak(what: str) -> InputError:
    return InputError(f"the split leaks: {what}; nothing was written")


def _random(log: Log, ratios: Ratios, rng: np.random.Generator) -> Labels:
    return _per_user(log, rng.random(len(log)), ratios)


def _user_time(log: Log, ratios: Ratios, rng: np.random.Generator) -> Labels:
    return _per_user(log, _later(log, rng), ratios)


def _leave_one_out(log: Log, _ratios: Ratios, rng: np.random.Generator) -> Labels:
    from_last = _places_from_last(log, _later(log, rng))
    degrees = log.degrees()[0][log.users]
    test = (from_last == 0) & (degrees > 1)
    valid = (from_last == 1) & (degrees > 2)
    labels: Labels = (2 * test + valid).astype(np.uint8)
    return labels


def _time(log: Log, ratios: Ratios, _rng: np.random.Generator) -> Labels:
    """Cut at two moments; what happened at one moment stays together."""
    assert log.time is not None  # noqa: S101 - `split` made sure
    times, total = np.sort(log.time), sum(ratios)
    ends = [len(times) * part // total for part in (ratios[0], ratios[0] + ratios[1])]
    cuts = [times[min(end, len(times) - 1)] for end in ends]
    if ratios[2] == 0:
        cuts[1] = times[-1] + 1
    return np.searchsorted(cuts, log.time, side="right").astype(np.uint8)


def _cold(kind: str) -> Callable[[Log, Ratios, np.random.Generator], Labels]:
    def cut(log: Log, ratios: Ratios, rng: np.random.Generator) -> Labels:
        codes, ids = _side(log, kind)
        there = np.flatnonzero(np.bincount(codes, minlength=len(ids)))
        shares = np.cumsum(ratios) * len(there) // sum(ratios)
        labels = np.zeros(len(ids), dtype=np.uint8)
        labels[rng.permutation(there)] = np.repeat(
            np.arange(3, dtype=np.uint8), np.diff(shares, prepend=0)
        )
        return np.asarray(labels[codes])

    return cut


def _side(log: Log, kind: str) -> tuple[NDArray[np.uint32], Any]:
    return (log.items, log.item_ids) if kind == "cold-items" else (log.users, log.user_ids)


def _later(log: Log, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rank interactions by time; a draw decides between those of one moment."""
    assert log.time is not None  # noqa: S101 - `split` made sure
    order = np.lexsort((rng.random(len(log)), log.time))
    rank = np.empty(len(log), dtype=np.int64)
    rank[order] = np.arange(len(log))
    return rank


def _places_from_last(log: Log, key: NDArray[Any]) -> NDArray[np.int64]:
    """Return how many of the user's interactions come after each, by `key`."""
    order = np.lexsort((key, log.users))
    ends = np.cumsum(log.degrees()[0])
    places = np.empty(len(log), dtype=np.int64)
    places[order] = ends[log.users] - 1 - np.arange(len(log))  # `users` are sorted already
    return places


def _per_user(log: Log, key: NDArray[Any], ratios: Ratios) -> Labels:
    """Hold out the last of each user by `key`.

    A history of ten and more gives the whole part of its share away, a shorter one two
    interactions, and each keeps at least one. Test takes the whole part of its share of those. At
    8:1:1 that is LATTICE's rule (CRIPAC-DIG/LATTICE, data/build_data.py).
    """
    held_share = ratios[1] + ratios[2]
    degrees = log.degrees()[0]
    held = np.where(degrees < _SHORT, 2 if held_share else 0, degrees * held_share // sum(ratios))
    held = np.minimum(held, np.maximum(degrees - 1, 0))
    test = held * ratios[2] // max(held_share, 1)
    from_last = _places_from_last(log, key)
    held_out, tested = from_last < held[log.users], from_last < test[log.users]
    return np.add(held_out, tested, dtype=np.uint8)


KINDS: dict[str, Callable[[Log, Ratios, np.random.Generator], Labels]] = {
    "random": _random,
    "leave-one-out": _leave_one_out,
    "user-time": _user_time,
    "time": _time,
    "cold-items": _cold("cold-items"),
    "cold-users": _cold("cold-users"),
}
"""The ways to split, by name."""

_TIMED = ("leave-one-out", "user-time", "time")
