"""Settings of the item model, chosen on interactions held out of the training interactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sgurinit._top_k import top_positions
from sgurinit.core.inputs.arrays import BoolArray, Float64Array, FloatArray
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.collaborative import (
    Directions,
    InteractionParts,
    PartSums,
    find_directions,
)
from sgurinit.core.steps.item_model import fit_item_model, reduce_item_model
from sgurinit.core.steps.processor import NUMPY, Processor

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Penalties to choose from."""
CONTENT_WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Weights of the content to choose from."""

DEFAULT_PENALTY = 10.0
"""Penalty where there are too few interactions to hold any out."""
DEFAULT_CONTENT_WEIGHT = 0.1
"""Weight of the content where held-out interactions do not tell."""

_SHARE = 0.1
_TOLERANCE = 0.99
# Held-out interactions to aim at, over several splits of small data.
_HELD_OUT = 10_000
_MOST_SPLITS = 3
_K = 20
# Interactions of the sample of users that the settings are chosen on.
_SAMPLE_INTERACTIONS = 1_000_000
# Items that settings are compared on, at most: those with the most users in the sample.
_MOST_ITEMS = 30_000
# Scores per setting: users times items.
_SCORES = 20_000_000
_FEWEST_USERS = 500


class ItemModelSettings(NamedTuple):
    """Settings of the item model.

    Attributes
    ----------
    penalty : float > 0
        Penalty, in units of the mean diagonal of the Gram matrix.
    content_weight : float >= 0
        Weight of the content, in the same unit.
    """

    penalty: float
    content_weight: float


class UserSample(NamedTuple):
    """Interactions of a sample of users.

    Attributes
    ----------
    matrix : csr_array of shape (n_users, n_items)
        Their binary interactions with all items.
    keys : ndarray of float64, shape (n_users,)
        A number in [0, 1) per user that depends on their items but not on the order of the data.
    """

    matrix: sp.csr_array
    keys: FloatArray


class _Split(NamedTuple):
    """Interactions to fit on, and those held out of some users."""

    fitted: sp.csr_array
    seen: sp.csr_array  # of the users to score
    held_out: sp.csr_array  # of the same users


def choose_settings(
    sample: UserSample,
    directions: Directions,
    content: Float64Array,
    dim: int,
    rank: int,
    *,
    penalty: float | None,
    content_weight: float | None,
    n_jobs: int | None = None,
    processor: Processor = NUMPY,
) -> ItemModelSettings:
    """Choose the settings that are None on held-out interactions.

    A tenth of the interactions is held out, in up to three splits of small data. The model is
    fitted on the others, reduced to `dim` columns, and ranks all items for some of the users by the
    mean of their items. Settings are compared by NDCG@20: first the penalty without content, then
    the weight of the content, then the penalty again. Of the weights within one percent of the best
    the largest is kept, because interactions with rare and new items, where content helps most, are
    seldom among those held out. Where the weight makes no difference, it is the default. Of more
    than 30,000 items, those with the most users in the sample take part. What is held out depends
    on the data but not on its order.

    Parameters
    ----------
    sample : UserSample
        Training interactions of a sample of users.
    directions : Directions
        Directions of all training interactions.
    content : ndarray of float64, shape (n_items, w)
        Content rows of unit length; zero for an item without content.
    dim, rank : int >= 1
        Width of the joint space, and number of directions.
    penalty, content_weight : float or None
        The settings, as far as they are given.
    n_jobs : int or None, default None
        Threads.
    processor : Processor
        What computes.

    Returns
    -------
    ItemModelSettings
    """
    used = _find_items(count_item_degrees(sample.matrix), directions.keys)
    if not content.any():
        content_weight = 0.0
    elif content_weight is None and not content[used].any():
        content_weight = DEFAULT_CONTENT_WEIGHT
    if penalty is not None and content_weight is not None:
        return ItemModelSettings(penalty, content_weight)
    matrix = sp.csr_array(sample.matrix[:, used])
    n_splits = int(np.clip(_HELD_OUT / (_SHARE * max(matrix.nnz, 1)), 1, _MOST_SPLITS))
    splits = [_hold_out(matrix, directions.keys[used], sample.keys, n) for n in range(n_splits)]
    splits = [split for split in splits if split.held_out.nnz]
    if not splits:
        return ItemModelSettings(
            DEFAULT_PENALTY if penalty is None else penalty,
            DEFAULT_CONTENT_WEIGHT if content_weight is None else content_weight,
        )
    judges = [
        _Judge(split, content[used], dim, rank, n_jobs=n_jobs, processor=processor)
        for split in splits
    ]

    @cache
    def score(settings: ItemModelSettings) -> float:
        return float(np.mean([judge.score(settings) for judge in judges]))

    return _search(score, penalty, content_weight)


def _find_items(degrees: Float64Array, keys: FloatArray) -> BoolArray:
    """Find the used items, or those with the most users if there are very many."""
    found: BoolArray = degrees > 0
    if found.sum() > _MOST_ITEMS:
        found[np.lexsort((keys, -degrees))[_MOST_ITEMS:]] = False
    return found


class _Judge:
    """Scores settings on one split."""

    def __init__(
        self,
        split: _Split,
        content: FloatArray,
        dim: int,
        rank: int,
        *,
        n_jobs: int | None,
        processor: Processor,
    ) -> None:
        self.split, self.content, self.dim = split, content, dim
        self.n_jobs, self.processor = n_jobs, processor
        with self._sums() as sums:
            self.directions = find_directions(sums, count_item_degrees(split.fitted), rank)

    def _sums(self) -> PartSums:
        return PartSums([lambda: self.split.fitted], self.n_jobs, processor=self.processor)

    def score(self, settings: ItemModelSettings) -> float:
        with self._sums() as sums:
            model = fit_item_model(self.directions, self.content, *settings, self.processor)
            items = reduce_item_model(model, sums, self.dim)
        return _compute_ndcg(items, self.split)


def _search(
    score: Callable[[ItemModelSettings], float], penalty: float | None, content_weight: float | None
) -> ItemModelSettings:
    """Search one setting after the other, each uphill from where it begins."""
    best = ItemModelSettings(
        DEFAULT_PENALTY if penalty is None else penalty,
        0.0 if content_weight is None else content_weight,
    )

    def improve_penalty(best: ItemModelSettings) -> ItemModelSettings:
        steps = [best._replace(penalty=value) for value in PENALTIES]
        return best if penalty is not None else _climb(score, steps, steps.index(best))

    best = improve_penalty(best)
    if content_weight is None:
        steps = [best._replace(content_weight=value) for value in CONTENT_WEIGHTS]
        scores = list(map(score, steps))
        if min(scores) == max(scores):
            return best._replace(content_weight=DEFAULT_CONTENT_WEIGHT)
        enough = _TOLERANCE * max(scores)
        found = [step for step in steps if score(step) >= enough][-1]
        if found != best:
            best = improve_penalty(found)
    return best


def _climb(
    score: Callable[[ItemModelSettings], float], steps: Sequence[ItemModelSettings], at: int
) -> ItemModelSettings:
    """Go up while the score improves, or else down."""
    begin = at
    for direction in (1, -1):
        while 0 <= at + direction < len(steps) and score(steps[at + direction]) > score(steps[at]):
            at += direction
        if at != begin:
            break
    return steps[at]


def sample_users(parts: InteractionParts, item_keys: FloatArray) -> UserSample:
    """Return the interactions of a sample of users, about a million of them.

    Parameters
    ----------
    parts : sequence of callables
        Each returns the binary training interactions of some users.
    item_keys : ndarray of float64, shape (n_items,)
        Keys of the items, see `Directions`.

    Returns
    -------
    UserSample
    """
    n_interactions = sum(int(part().nnz) for part in parts)
    share = _SAMPLE_INTERACTIONS / max(n_interactions, 1)
    rows, keys = [], []
    for part in parts:
        matrix = part().astype(np.float64)
        sums = matrix @ item_keys
        kept = _mix(sums, 0.0) < share
        rows.append(sp.csr_array(matrix[kept]))
        keys.append(_mix(sums[kept], 1.0))
    return UserSample(sp.csr_array(sp.vstack(rows, format="csr")), np.concatenate(keys))


def _hold_out(
    matrix: sp.csr_array, item_keys: FloatArray, user_keys: FloatArray, number: int
) -> _Split:
    """Hold out a share of the interactions, at most all but one of a user's.

    Splits of different numbers hold out different interactions.
    """
    pairs = matrix.tocoo()
    # A product: with a sum, users of similar keys would lose the same items together.
    drawn = np.modf(1e3 * (1.0 + _mix(item_keys, 2.0)[pairs.col]) * (1.0 + user_keys[pairs.row]))[0]
    out = (drawn >= number * _SHARE) & (drawn < (number + 1) * _SHARE)
    n_out = np.bincount(pairs.row[out], minlength=matrix.shape[0])
    whole = n_out == np.diff(matrix.indptr)  # everything of these users would be held out
    out &= ~whole[pairs.row]
    fitted, held_out = (
        sp.csr_array(
            (np.ones(int(which.sum())), (pairs.row[which], pairs.col[which])), shape=matrix.shape
        )
        for which in (~out, out)
    )
    users = np.flatnonzero(np.diff(held_out.indptr) > 0)
    n_scored = max(_FEWEST_USERS, _SCORES // max(int(matrix.shape[1]), 1))
    users = np.sort(users[np.argsort(user_keys[users], kind="stable")[:n_scored]])
    return _Split(fitted, sp.csr_array(fitted[users]), sp.csr_array(held_out[users]))


def _mix(keys: FloatArray, shift: float) -> FloatArray:
    """Spread keys over [0, 1): equal keys stay equal, others look unrelated."""
    spread: FloatArray = np.modf(1e5 * (keys + 1.0) * (np.sqrt(5) + shift))[0]
    return spread


def _compute_ndcg(items: FloatArray, split: _Split) -> float:
    """Compute NDCG@20 of the held-out items among all that the user has not interacted with."""
    items = items.astype(np.float32)
    discounts = 1.0 / np.log2(np.arange(2, _K + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    total, size = 0.0, 1024
    for first in range(0, split.seen.shape[0], size):
        seen = sp.csr_array(split.seen[first : first + size])
        wanted = sp.csr_array(split.held_out[first : first + size])
        scores = np.asarray(seen @ items, dtype=np.float32) @ items.T
        scores[seen.nonzero()] = -np.inf
        ranked = top_positions(scores, _K)
        hits = wanted.toarray()[np.arange(len(ranked))[:, None], ranked] * (ranked >= 0)
        n_wanted = np.minimum(np.diff(wanted.indptr), _K)
        total += float(((hits @ discounts) / ideal[n_wanted]).sum())
    return total / split.seen.shape[0]
