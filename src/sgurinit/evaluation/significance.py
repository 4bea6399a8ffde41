"""The adjustment of p-values for several tests."""

from __future__ import annotations

from collections.abc import Sequence


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
    bootstrap_lifts : Computes p-values.

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
