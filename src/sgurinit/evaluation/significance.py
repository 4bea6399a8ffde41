"""Paired significance tests between arms, and the adjustment for several tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgurinit.errors import InputError


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired t-test over users.

    Parameters
    ----------
    mean_difference : float
        Mean of ``a - b``.
    p_value : float
        Two-sided p-value in [0, 1]; NaN for fewer than two users.
    n : int
        Number of users.

    See Also
    --------
    paired_test : Returns it.

    Examples
    --------
    >>> PairedTest(mean_difference=0.1, p_value=0.03, n=200).p_value < 0.05
    True
    """

    mean_difference: float
    p_value: float
    n: int


def paired_test(a: np.ndarray, b: np.ndarray) -> PairedTest:
    """Test whether per-user scores differ: a two-sided paired t-test.

    Parameters
    ----------
    a, b : numpy.ndarray, shape (n,)
        Scores of the same users in the same order.

    Returns
    -------
    PairedTest
        If all differences are 0, p is 1. If all are equal but not 0, p is 0.

    Raises
    ------
    InputError
        The shapes differ, or the arrays are not one-dimensional or are empty.

    See Also
    --------
    adjust_p_values : Adjusts the p-values of several tests.

    Examples
    --------
    >>> import numpy as np
    >>> result = paired_test(np.array([0.5, 0.4, 0.9]), np.array([0.3, 0.3, 0.8]))
    >>> round(result.mean_difference, 3), round(result.p_value, 3)
    (0.133, 0.057)
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


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests with Holm's step-down method.

    Parameters
    ----------
    p_values : sequence of float
        One p-value per hypothesis, each in [0, 1].

    Returns
    -------
    list of float
        Adjusted p-values in the same order. Rejecting every hypothesis whose adjusted p-value is at
        most alpha keeps the probability of any false rejection at most alpha.

    References
    ----------
    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979.

    See Also
    --------
    paired_test : Computes p-values.

    Examples
    --------
    >>> adjust_p_values([0.04, 0.01])
    [0.04, 0.02]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted
