"""Whether one arm is better than another on the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgurinit.errors import InputError


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired t-test over users.

    Attributes
    ----------
    mean_difference
        Mean of ``a - b``.
    p_value
        Two-sided, in [0, 1]; NaN for fewer than two users.
    n
        Number of users.
    """

    mean_difference: float
    p_value: float
    n: int


def paired_test(a: np.ndarray, b: np.ndarray) -> PairedTest:
    """Two-sided paired t-test of per-user scores.

    Parameters
    ----------
    a, b
        ``(n,)`` scores of the same users in the same order.

    Returns
    -------
    PairedTest
        Equal scores of every user give p = 1, the same non-zero difference for every user p = 0.

    Raises
    ------
    InputError
        The shapes differ, the arrays are not one-dimensional or are empty.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise InputError(
            f"paired test of shapes {a.shape} and {b.shape}, expected two equal (n,) with n >= 1"
        )
    difference = a - b
    mean = float(difference.mean())
    if len(a) < 2:
        return PairedTest(mean, float("nan"), len(a))
    spread = float(difference.std(ddof=1))
    if spread == 0.0:  # the t statistic is 0/0 or x/0
        return PairedTest(mean, 1.0 if mean == 0.0 else 0.0, len(a))
    t = mean / (spread / len(a) ** 0.5)
    return PairedTest(mean, float(2.0 * stats.t.sf(abs(t), len(a) - 1)), len(a))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being several (Holm, 1979).

    Parameters
    ----------
    p_values
        One per hypothesis, each in [0, 1].

    Returns
    -------
    list of float
        In the same order: the smallest level at which each hypothesis is rejected when all of them
        together may err with that probability.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted
