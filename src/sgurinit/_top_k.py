"""Exact selection of the best entries of every row, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgurinit.errors import InputError


def top_positions(values: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Return the positions of the k highest values of each row, highest first.

    Equal values are ordered by position, lower first, inside the list as well as at its end, so
    the result is a function of the values alone.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (n, n_items)
        Scores. ``-inf`` is never selected.
    k : int, >= 1
        Length of the lists.

    Returns
    -------
    ndarray of int64, shape (n, k)
        Positions, -1 where a row has fewer than k finite values.

    Raises
    ------
    InputError
        A value is NaN.
    """
    # The k-th largest of the maxima of disjoint groups of items is a lower bound on the k-th
    # largest score and is much cheaper than a selection over all items. A little over k entries a
    # row reach the bound, every tie at the end of the list among them. They come in the order of
    # their positions, so a stable sort of them is the answer.
    n_rows = len(values)
    ranked = np.full((n_rows, k), -1, dtype=np.int64)
    if values.size == 0:
        return ranked
    bound = _lower_bound(values, k)
    rows, columns = np.divmod(np.flatnonzero(values >= bound), values.shape[1])
    counts = np.bincount(rows, minlength=n_rows)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(int(counts.max()), k)
    negated = np.full((n_rows, width), np.inf, dtype=values.dtype)
    negated[rows, slots] = -values[rows, columns]
    candidates = np.full((n_rows, width), -1, dtype=np.int64)
    candidates[rows, slots] = columns
    order = np.argsort(negated, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, order, axis=1)


def _lower_bound(values: NDArray[np.floating], k: int) -> NDArray[np.floating]:
    """Return ``(n, 1)`` finite numbers that at least the k best finite scores of a row reach."""
    n_rows, n_items = values.shape
    # About sqrt(n_items / k) items a group makes both the maxima and what passes the bound few.
    size = max(1, round((n_items / k) ** 0.5))
    n_groups = n_items // size
    grouped = values[:, : size * n_groups].reshape(n_rows, size, n_groups)
    maxima = grouped.max(axis=1)
    tail = values[:, size * n_groups :]
    refuse_nan(maxima)
    refuse_nan(tail)
    lowest = np.finfo(values.dtype).min
    if k > n_groups:
        return np.full((n_rows, 1), lowest, dtype=values.dtype)
    at = n_groups - k
    return np.maximum(np.partition(maxima, at, axis=1)[:, at : at + 1], lowest)


def refuse_nan(values: NDArray[np.floating]) -> None:
    """Raise `InputError` if a row of scores, or of what was computed from them, holds NaN."""
    bad = np.isnan(values)
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        raise InputError(
            f"scores to rank: row {row} holds NaN, expected numbers; the model has diverged, "
            "try a lower learning rate"
        )
