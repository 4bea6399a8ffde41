"""Exact selection of the best entries of every row, in torch, on the device of the scores."""

from __future__ import annotations

import torch
from torch import Tensor

_LOW_BITS = 32
_NEGATIVE_INFINITY = -0x7F800001  # as an ordered integer
_NOT_A_NUMBER = 0x7FFFFFFF  # above all numbers
_BYTES_PER_SCORE = 24  # the score, a copy, and what the selection needs where rows are short
_FREE_SHARE = 4
_MOST_ROWS = 1 << 16


def find_highest(scores: Tensor, k: int) -> Tensor:
    """Find the positions of the k highest scores of each row, highest first, without a transfer.

    The choice and order are those of `sgurinit._top_k.top_positions`: equal scores are ordered by
    position, lower first, inside the list as well as at its end. A NaN is the first of its row.

    A score and a position become one integer that is ordered like them, so that the integers of a
    row differ and their k largest are the answer. Most scores need none: the k groups of neighbors
    with the highest maxima, equal ones by position, hold the k highest scores, because each of them
    has an entry before all entries of the other groups.

    Parameters
    ----------
    scores : Tensor of float32, shape (n, n_items)
        Scores; higher is better. ``-inf`` is never selected.
    k : int
        Length of the lists, at least 1.

    Returns
    -------
    Tensor of int64, shape (n, k)
        Positions, -1 where no item is left.
    """
    n_items = scores.shape[1]
    size = max(1, round((n_items / k) ** 0.5))
    n_groups = n_items // size
    if n_groups <= k:
        return _find_first(scores, None, k)
    grouped = scores[:, : n_groups * size].unflatten(1, (n_groups, size))
    groups = _find_first(grouped.amax(dim=2), None, k)
    # A group of -1, with nothing but -inf, may stand for any: nothing of it is selected.
    within = torch.arange(size, device=scores.device)
    places = (groups.clamp(min=0)[:, :, None] * size + within).flatten(1)
    places = places.masked_fill((groups < 0).repeat_interleave(size, dim=1), -1)
    tail = torch.arange(n_groups * size, n_items, device=scores.device)
    places = torch.cat([places, tail.expand(len(scores), -1)], dim=1)
    found = scores.gather(1, places.clamp(min=0)).masked_fill(places < 0, -torch.inf)
    return _find_first(found, places, k)


def _find_first(scores: Tensor, places: Tensor | None, k: int) -> Tensor:
    """Select among scores ``(n, m)`` at these places; None: at 0 to m - 1."""
    if places is None:
        places = torch.arange(scores.shape[1], device=scores.device)
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0, since they are equal
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).masked_fill(scores.isnan(), _NOT_A_NUMBER)
    last = (1 << _LOW_BITS) - 1
    keys = (ordered.long() << _LOW_BITS) + (last - 1 - places)
    best = keys.topk(min(k, scores.shape[1]), dim=1).values
    found = last - 1 - (best & last)
    found = found.masked_fill(best >> _LOW_BITS <= _NEGATIVE_INFINITY, -1)
    return torch.nn.functional.pad(found, (0, k - found.shape[1]), value=-1)


def count_rows(n_items: int, device: torch.device) -> int:
    """Count the rows whose scores can be selected from together in the memory of a device.

    They take a quarter of what is free, or of what is left of this process's share of the memory.
    """
    free, total = torch.cuda.mem_get_info(device)
    share = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    left = min(free, share - torch.cuda.memory_reserved(device))
    return max(1, min(_MOST_ROWS, left // _FREE_SHARE // _BYTES_PER_SCORE // n_items))
