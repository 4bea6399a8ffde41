"""Content agreement: whether items that are alike by content are used by the same users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sgurinit._top_k import top_positions
from sgurinit.arguments import check_integer
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, FloatArray, IntArray
from sgurinit.core.inputs.features import ItemFeatures, iter_row_blocks, iter_row_slices
from sgurinit.core.steps.preprocess import normalize_rows
from sgurinit.errors import InputError

# Time for the neighbors, in multiplications: every item is looked up where that takes no longer,
# else a sample of at least `_FEWEST`. Selecting a neighbor takes as long as `_SELECTION` columns.
_WORK = 10**11
_SELECTION = 128
_FEWEST = 1000

# Chance is counted over all pairs of items where users have at most so many pairs, else over
# `_PAIRS` random ones.
_COUNTED = 1 << 25
_PAIRS = 500_000

# Cosines, and users of pairs, in memory at a time.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class ContentAgreement:
    """How well the content of items tells which items share users.

    Parameters
    ----------
    value : float in [0, 1]
        Share of the pairs of an item and one of its nearest items by content that share a user.
    standard_error : float >= 0
        Standard error of `value`, from the spread over the items.
    chance : float in [0, 1]
        Share of all pairs of items that share a user. Shuffled content has this value on average.
    ratio : float >= 0 or None
        `value` divided by `chance`. At 1, content cannot tell who uses what. None if no two items
        share a user.
    k : int
        Number of nearest items, 10 unless there are too few items.
    n_items : int
        Number of items that are compared.
    n_sampled : int
        Number of items whose neighbors are looked up. It is below `n_items` if these are many.

    See Also
    --------
    compute_content_agreement : Measures it.

    Examples
    --------
    >>> from sgurinit.core.content_agreement import compute_content_agreement
    >>> from sgurinit.data import planted
    >>> data = planted()
    >>> found = compute_content_agreement(data.train_matrix(), data.features["text"])
    >>> found.ratio > 2
    True
    """

    value: float
    standard_error: float
    chance: float
    ratio: float | None
    k: int
    n_items: int
    n_sampled: int


def compute_content_agreement(
    matrix: sp.csr_array, features: ItemFeatures, *, k: int = 10, seed: int = 0
) -> ContentAgreement | None:
    """Measure before any training whether the content of items can help.

    Neighbors are the `k` nearest items by cosine, after subtraction of the mean row, as in the
    joint space. An item is not its own neighbor. Items take part if they have a user and a row that
    is not all zero. Two items share a user if one user has interacted with both.

    Of equally near items, random ones are the neighbors. If looking up all neighbors would take
    longer than a few seconds, those of a random sample of at least 1,000 items are looked up among
    all items. The chance level is exact if the squared numbers of items per user sum to at most
    2^25, else it is measured on 500,000 random pairs. Features are read in blocks, and no items x
    items table is held.

    Parameters
    ----------
    matrix : sparse matrix of shape (n_users, n_items)
        Training interactions; every entry other than 0 is one.
    features : ItemFeatures
        One modality, with a row per item.
    k : int, default 10
        Number of neighbors, at least 1. At most all other items are used.
    seed : int, default 0
        Seed of the order of ties and of the samples.

    Returns
    -------
    ContentAgreement or None
        None if fewer than two items take part.

    Raises
    ------
    InputError
        `k` is below 1, `seed` is not an integer of at least 0, or the numbers of items differ.

    See Also
    --------
    compute_gaps : How far users are from their items in a start.
    sgurinit.data.summarize : Measures every modality of a data set.

    Examples
    --------
    >>> from sgurinit.core.content_agreement import compute_content_agreement
    >>> from sgurinit.data import xwines
    >>> wines = xwines()
    >>> found = compute_content_agreement(wines.train_matrix(), wines.features["text"])
    >>> round(found.value, 2), round(found.chance, 2), round(found.ratio, 1)
    (0.4, 0.25, 1.6)
    """
    if k < 1:
        raise InputError(f"k is {k}, expected at least 1 neighbor")
    if features.n_items != matrix.shape[1]:
        raise InputError(
            f"features have {features.n_items} rows but the interactions have {matrix.shape[1]} "
            "items; give one row per item"
        )
    generator = np.random.default_rng(check_integer(seed, "seed", 0))
    users = sp.csr_array(matrix.T.tocsr().astype(np.bool_))
    users.eliminate_zeros()
    filled, mean = _find_filled_rows(features)
    # In random order, so that the first items are a sample and ties are broken at random.
    order = generator.permutation(np.flatnonzero(filled & (np.diff(users.indptr) > 0)))
    n_items = len(order)
    if n_items < 2:
        return None
    k = min(k, n_items - 1)
    affordable = _WORK // (n_items * (features.width + _SELECTION))
    n_sampled = min(n_items, max(_FEWEST, affordable))
    users = users[order]
    nearest = _find_nearest(features.values, order, mean, n_sampled, k)
    shared = _share_a_user(users, np.repeat(np.arange(n_sampled), k), nearest.ravel())
    by_item = shared.reshape(n_sampled, k).mean(axis=1)
    value, chance = float(by_item.mean()), _measure_chance(users, generator)
    return ContentAgreement(
        value=value,
        standard_error=float(by_item.std(ddof=1) / np.sqrt(n_sampled)),
        chance=chance,
        ratio=value / chance if chance > 0 else None,
        k=k,
        n_items=n_items,
        n_sampled=n_sampled,
    )


def _find_filled_rows(features: ItemFeatures) -> tuple[BoolArray, NDArray[np.float64]]:
    """Find the items with a row that is not all zero, and the mean of these rows."""
    filled = features.mask().copy()
    total = np.zeros(features.width)
    for where, block in iter_row_blocks(features.values):
        filled[where] &= block.any(axis=1)
        total += block[filled[where]].sum(axis=0)
    mean: NDArray[np.float64] = total / max(1, filled.sum())
    return filled, mean


def _find_nearest(
    values: FloatArray, order: IntArray, mean: NDArray[np.float64], n_sampled: int, k: int
) -> IntArray:
    """Find the nearest items of the first items in `order`, as positions in it, ``(n, k)``."""

    def scale(items: IntArray) -> Float32Array:
        rows = normalize_rows(np.asarray(values[items], dtype=np.float64) - mean)
        scaled: Float32Array = rows.astype(np.float32)
        return scaled

    sampled = np.empty((n_sampled, values.shape[1]), dtype=np.float32)
    for where in iter_row_slices(sampled):
        sampled[where] = scale(order[:n_sampled][where])
    nearest = np.zeros((n_sampled, k), dtype=np.int64)
    highest = np.full((n_sampled, k), -2, dtype=np.float32)  # below every cosine
    for where in iter_row_slices(values):
        items = order[where]
        if not len(items):
            break
        block = scale(items)
        step = max(1, _BLOCK // len(items))
        for first in range(0, n_sampled, step):
            part = slice(first, first + step)
            cosines = sampled[part] @ block.T
            own = np.arange(first, first + len(cosines)) - where.start
            inside = (own >= 0) & (own < len(items))
            cosines[inside, own[inside]] = -np.inf
            candidates = np.hstack([highest[part], cosines])
            best = top_positions(candidates, k)
            highest[part] = np.take_along_axis(candidates, best, axis=1)
            known = np.take_along_axis(nearest[part], np.minimum(best, k - 1), axis=1)
            nearest[part] = np.where(best < k, known, best - k + where.start)
    return nearest


def _share_a_user(users: sp.csr_array, left: IntArray, right: IntArray) -> BoolArray:
    """Whether the items of each pair share a user, given the users of every item."""
    degrees = np.diff(users.indptr).astype(np.int64)
    blocks = np.cumsum(degrees[left] + degrees[right]) // _BLOCK
    cuts = np.flatnonzero(np.diff(blocks)) + 1
    parts = [
        users[some].multiply(users[others]).sum(axis=1) > 0
        for some, others in zip(np.split(left, cuts), np.split(right, cuts), strict=True)
    ]
    shared: BoolArray = np.concatenate(parts)
    return shared


def _measure_chance(users: sp.csr_array, generator: np.random.Generator) -> float:
    """Share of all pairs of items that share a user, given the users of every item."""
    n_items = users.shape[0]
    items_per_user = np.bincount(users.indices).astype(np.int64)
    if (items_per_user**2).sum() <= _COUNTED:
        return float((users @ users.T).nnz - n_items) / (n_items * (n_items - 1))
    left = generator.integers(n_items, size=_PAIRS)
    right = (left + generator.integers(1, n_items, size=_PAIRS)) % n_items
    return float(_share_a_user(users, left, right).mean())
