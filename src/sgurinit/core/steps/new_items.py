"""Rows for items that nobody has used yet, from used items with similar content."""

from __future__ import annotations

import numpy as np

from sgurinit.core.inputs.arrays import BoolArray, Float64Array, FloatArray
from sgurinit.core.steps.processor import NUMPY, Processor

NEIGHBORS = 20
"""Used items that a new item is placed at the mean of."""

# Among many used items, only so many are looked at: those with the most users.
_CANDIDATES = 50_000
# Cosines in memory at a time.
_BLOCK = 1 << 22
# Cosines closer than this are equal, so that rounding errors do not choose between items. Below it
# they count as zero: a mean of items with unrelated content would be weighted by rounding errors.
_TIE = 1e-6


def place_by_content(
    rows: FloatArray,
    content: FloatArray,
    degrees: Float64Array,
    n_neighbors: int = NEIGHBORS,
    processor: Processor = NUMPY,
) -> tuple[Float64Array, BoolArray]:
    r"""Place each new item at the mean of the used items that are most similar by content.

    The mean is weighted by the cosines. Items as similar as the last neighbor count as neighbors,
    too, so the result does not depend on the order of the items. Neighbors with a cosine of at most
    zero do not count. Of more than 50,000 used items with content, only those with the most users
    are looked at; of equally many, the first.

    Parameters
    ----------
    rows : ndarray of shape (n_items, d)
        Rows of the items in any space. Those of new items are not read.
    content : ndarray of shape (n_items, w)
        Content rows of unit length; zero for an item without content.
    degrees : ndarray of float64, shape (n_items,)
        Number of users of each item. An item with none is new.
    n_neighbors : int, default 20
        Number of neighbors, at least 1. At most all candidates are used.
    processor : Processor
        What computes.

    Returns
    -------
    rows : ndarray of float64, shape (n_items, d)
        The given rows, with those of the new items replaced: by the mean, or by zeros where no used
        item is similar.
    placed : ndarray of bool, shape (n_items,)
        New items with a row.
    """
    placed_rows = np.where((degrees > 0)[:, None], rows, 0.0).astype(np.float64)
    placed = np.zeros(len(rows), dtype=np.bool_)
    described = content.any(axis=1)
    new = np.flatnonzero(described & (degrees == 0))
    used = np.flatnonzero(described & (degrees > 0))
    used = used[np.argsort(-degrees[used], kind="stable")[:_CANDIDATES]]
    if not len(used):
        return placed_rows, placed
    known, known_rows = processor.put(content[used]), processor.put(placed_rows[used])
    k = min(n_neighbors, len(used))
    step = max(1, processor.choose_block_bytes(8 * _BLOCK) // (8 * len(used)))
    for first in range(0, len(new), step):
        items = new[first : first + step]
        similar = processor.put(content[items]) @ known.T
        last = processor.find_kth(similar, k)
        similar[similar < (last - _TIE).clip(min=_TIE)] = 0.0
        total = similar.sum(axis=1)
        items = items[processor.get(total > 0)]
        similar, total = similar[total > 0], total[total > 0]
        placed_rows[items] = processor.get(similar @ known_rows / total[:, None])
        placed[items] = True
    return placed_rows, placed
