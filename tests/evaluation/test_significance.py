"""The paired test against SciPy and in its limits; Holm's adjustment."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sgurinit.errors import InputError
from sgurinit.evaluation import adjust_p_values, paired_test


@pytest.mark.parametrize("n", [2, 3, 50, 5000])
def test_agrees_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.random(n), rng.random(n)
    found = paired_test(a, b)
    assert found.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert found.mean_difference == pytest.approx(a.mean() - b.mean())
    assert found.n == n


def test_equal_scores_give_p_one_and_a_constant_gain_p_zero() -> None:
    a = np.array([0.5, 1.0, 0.0])
    assert paired_test(a, a).p_value == 1.0
    assert paired_test(a + 0.5, a).p_value == 0.0


def test_one_user_gives_no_p_value() -> None:
    found = paired_test(np.array([1.0]), np.array([0.5]))
    assert found.mean_difference == 0.5
    assert math.isnan(found.p_value)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([], []), ([[1.0]], [[1.0]])])
def test_other_shapes_are_rejected(a: list[float], b: list[float]) -> None:
    with pytest.raises(InputError, match="paired test of shapes"):
        paired_test(np.array(a), np.array(b))


def test_holm_on_figures_worked_by_hand() -> None:
    # Four hypotheses: 4 x .01, then 3 x .02, 2 x .04, and .05, which cannot fall below them.
    assert adjust_p_values([0.04, 0.01, 0.05, 0.02]) == pytest.approx([0.08, 0.04, 0.08, 0.06])
    assert adjust_p_values([0.6, 0.7]) == [1.0, 1.0]
    assert adjust_p_values([0.03]) == [0.03]
    assert adjust_p_values([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(p: list[float]) -> None:
    adjusted = adjust_p_values(p)
    for raw, found in zip(p, adjusted, strict=True):
        assert raw <= found <= min(1.0, len(p) * raw)
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
