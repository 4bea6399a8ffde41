"""Confidence intervals and tests of differences, over users and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from sgurinit.arguments import check_integer
from sgurinit.core.inputs.conversion import to_array
from sgurinit.errors import InputError

# Counts of users that a block of draws holds, at most.
_BLOCK = 1 << 20

_MOST_RESAMPLES = 10_000_000


@dataclass(frozen=True)
class LiftInterval:
    """The difference of two means, absolute and relative, with intervals and a test.

    Parameters
    ----------
    lift : float or None
        ``mean(a) / mean(b) - 1``. None if the mean of `b` is 0 or below.
    low, high : float or None
        Ends of the interval of the lift. None if the mean of `b` is 0 or below in a draw, because
        the lift has no finite end then; the interval of the difference remains.
    mean_difference : float
        ``mean(a) - mean(b)``.
    difference_low, difference_high : float
        Ends of the interval of the difference.
    p_value : float
        Two-sided p-value in (0, 1] of the difference: twice the smaller share of draws at or
        beyond 0, where the scores themselves count as one more draw.

    See Also
    --------
    bootstrap_lift : Returns it.

    Examples
    --------
    >>> from sgurinit.evaluation import bootstrap_lift
    >>> bootstrap_lift([[0.5, 0.4, 0.9]], [[0.3, 0.3, 0.8]]).mean_difference > 0
    True
    """

    lift: float | None
    low: float | None
    high: float | None
    mean_difference: float
    difference_low: float
    difference_high: float
    p_value: float


def bootstrap_lift(
    a: np.ndarray,
    b: np.ndarray,
    *,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> LiftInterval:
    """Estimate how much higher one mean is than another, over users and seeds.

    The form of `bootstrap_lifts` for one pair, which describes the method.

    Parameters
    ----------
    a, b : numpy.ndarray, shape (n_seeds, n_users)
        Scores of the same users in the same order, from runs with the same seeds.
    level : float in (0, 1), default 0.95
        Share of intervals that hold the true value.
    n_resamples : int in [1, 10,000,000], default 10,000
        Number of draws.
    seed : int >= 0, default 0
        Seed of the draws.

    Returns
    -------
    LiftInterval
        The lift and the difference of all scores, with the quantiles of the draws.

    Raises
    ------
    InputError
        A score is not a number, the shapes differ or are not two-dimensional, or for the
        reasons of `bootstrap_lifts`.

    See Also
    --------
    bootstrap_lifts : Many pairs with one set of draws.
    adjust_p_values : Adjusts the p-values of several tests.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> b = rng.random((3, 500))
    >>> found = bootstrap_lift(b + 0.05, b)
    >>> round(found.lift, 2), found.low < found.lift < found.high, found.p_value < 0.001
    (0.1, True, True)
    """
    a, b = _to_scores(a, "a"), _to_scores(b, "b")
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(
            f"scores have the shapes {a.shape} and {b.shape}, expected two equal (n_seeds, n_users)"
        )
    scores = np.stack([a, b], axis=-1)
    return bootstrap_lifts(scores, [(0, 1)], level=level, n_resamples=n_resamples, seed=seed)[0]


def bootstrap_lifts(
    scores: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    *,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> list[LiftInterval]:
    """Estimate how much higher some means are than others, over users and seeds.

    Users and seeds are drawn with replacement, independently of each other, and the same draw is
    used for all columns (a crossed bootstrap). So an interval covers which users there are as well
    as how the runs turned out, and keeps the pairing of both. The weights of the seeds deviate from
    their mean by ``sqrt(S / (S - 1))`` times as much as drawn, ``S = n_seeds``, so that the
    variance between few seeds is not underestimated. With one seed, the interval covers users only.

    The cost is one matrix product per block of draws, for all pairs together.

    Parameters
    ----------
    scores : numpy.ndarray, shape (n_seeds, n_users, n_columns)
        Scores of the same users in the same order, from runs with the same seeds. A column is, for
        example, one metric of a model and arm.
    pairs : sequence of (int, int)
        Columns to compare: the first with the second.
    level : float in (0, 1), default 0.95
        Share of intervals that hold the true value.
    n_resamples : int in [1, 10,000,000], default 10,000
        Number of draws. No p-value is below ``2 / (n_resamples + 1)``.
    seed : int >= 0, default 0
        Seed of the draws.

    Returns
    -------
    list of LiftInterval
        One per pair.

    Raises
    ------
    InputError
        `scores` is not three-dimensional, has no seed or fewer than two users, holds a NaN or
        infinite value or no numbers, a pair names a missing column, or `level`, `n_resamples` or
        `seed` is out of range.

    Notes
    -----
    Ends are quantiles of the draws. In simulations, 95 % intervals hold the truth in 95 % of cases
    where users differ most; in 93 % where seeds and users matter equally; and in 81, 86 and 90 %
    with 3, 5 and 10 seeds where seeds alone matter. Noise of single users in single runs is counted
    more than once, so where it is the largest part, intervals are wide and hold it in 99 %. With
    fewer than about 20 users, intervals are too narrow.

    References
    ----------
    Owen, "The Pigeonhole Bootstrap", Annals of Applied Statistics 1, 2007: rows and columns drawn
    independently. Davison and Hinkley, "Bootstrap Methods and Their Application", 1997, section
    4.2: the p-value with one more draw.

    See Also
    --------
    bootstrap_lift : One pair.
    adjust_p_values : Adjusts the p-values of several tests.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.random.default_rng(0).random((3, 500, 1)) + np.array([0.0, 0.1, 0.2])
    >>> [round(found.lift, 1) for found in bootstrap_lifts(scores, [(1, 0), (2, 0)])]
    [0.2, 0.4]
    """
    scores, compared = _to_scores(scores, "scores"), to_array(pairs, "pairs")
    _check(scores, compared, level, n_resamples, seed)
    if not len(compared):
        return []
    own, base = compared.T
    # Products of differences, not differences of products: equal scores differ by exactly 0.
    ends = np.sort(compared, axis=1)
    differing, at = np.unique(ends, axis=0, return_inverse=True)
    bases, base_at = np.unique(base, return_inverse=True)
    differences = scores[..., differing[:, 0]] - scores[..., differing[:, 1]]
    columns = np.concatenate([differences, scores[..., bases]], axis=-1)
    drawn = _draw_means(columns, n_resamples, seed)
    means = columns.mean(axis=(0, 1))
    sign = np.where(own <= base, 1, -1)
    base_at = base_at + len(differing)
    return [
        _describe(
            one * means[own_at], one * drawn[:, own_at], means[other_at], drawn[:, other_at], level
        )
        for one, own_at, other_at in zip(sign, at.ravel(), base_at, strict=True)
    ]


def _to_scores(values: Any, name: str) -> np.ndarray:
    array = to_array(values, name)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype}, expected real numbers")
    return array.astype(np.float64, copy=False)


def _check(
    scores: np.ndarray, pairs: np.ndarray, level: float, n_resamples: int, seed: int
) -> None:
    if scores.ndim != 3 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise InputError(
            f"scores have the shape {scores.shape}, expected (n_seeds, n_users, n_columns) with at "
            "least 1 seed and 2 users"
        )
    if not np.isfinite(scores).all():
        raise InputError("scores hold a NaN or infinite value")
    if pairs.shape != (0,) and (pairs.shape[1:] != (2,) or pairs.dtype.kind not in "iu"):
        raise InputError(
            f"pairs hold {pairs.dtype} of the shape {pairs.shape}, expected pairs of columns, such "
            "as [(1, 0)]"
        )
    for pair in pairs.tolist():
        if not all(0 <= column < scores.shape[2] for column in pair):
            raise InputError(
                f"pair {tuple(pair)} names a column that scores of {scores.shape} lack"
            )
    if not isinstance(level, Real) or not 0 < level < 1:
        raise InputError(f"level is {level!r}, expected a number between 0 and 1")
    if not isinstance(n_resamples, Integral) or not 1 <= n_resamples <= _MOST_RESAMPLES:
        raise InputError(
            f"n_resamples is {n_resamples!r}, expected at least 1 and at most {_MOST_RESAMPLES:,}"
        )
    check_integer(seed, "seed", 0)


def _draw_means(columns: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Mean of every column in every draw, shape (n_resamples, n_columns)."""
    n_seeds, n_users, n_columns = columns.shape
    of_users, of_seeds = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    flat = columns.swapaxes(0, 1).reshape(n_users, -1).astype(np.float32)
    drawn = np.empty((n_resamples, n_columns))
    step = max(1, _BLOCK // n_users)
    for first in range(0, n_resamples, step):
        n = min(step, n_resamples - first)
        users = _draw_counts(of_users, n, n_users).astype(np.float32)
        by_seed = (users @ flat).reshape(n, n_seeds, n_columns) / n_users
        seeds = np.full((n, n_seeds), 1 / n_seeds)
        if n_seeds > 1:
            deviation = _draw_counts(of_seeds, n, n_seeds) / n_seeds - 1 / n_seeds
            seeds += (n_seeds / (n_seeds - 1)) ** 0.5 * deviation
        drawn[first : first + n] = np.einsum("ns,nsc->nc", seeds, by_seed)
    return drawn


def _draw_counts(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """How often each of `size` is drawn when `size` are drawn with replacement, `n` times."""
    cells = rng.integers(size, size=(n, size)) + size * np.arange(n)[:, None]
    return np.bincount(cells.ravel(), minlength=n * size).reshape(n, size)


def _describe(
    mean_difference: float,
    differences: np.ndarray,
    base_mean: float,
    bases: np.ndarray,
    level: float,
) -> LiftInterval:
    ends = [(1 - level) / 2, (1 + level) / 2]
    smaller = min((differences <= 0).sum(), (differences >= 0).sum())
    p_value = min(1.0, 2 * (int(smaller) + 1) / (len(differences) + 1))
    lift = float(mean_difference / base_mean) if base_mean > 0 else None
    low = high = None
    if lift is not None and (bases > 0).all():
        low, high = map(float, np.quantile(differences / bases, ends))
    difference_low, difference_high = map(float, np.quantile(differences, ends))
    return LiftInterval(
        lift, low, high, float(mean_difference), difference_low, difference_high, p_value
    )
