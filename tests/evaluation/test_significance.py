"""Holm's adjustment of p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgurinit.evaluation import adjust_p_values


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
