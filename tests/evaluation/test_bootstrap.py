"""Intervals of lifts, over users and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from sgurinit.errors import InputError
from sgurinit.evaluation import bootstrap, bootstrap_lift


def draw(n_seeds=3, n_users=40, seed=0):
    rng = np.random.default_rng(seed)
    b = rng.random((n_seeds, n_users)) + 0.2
    return b + rng.normal(0.05, 0.2, size=b.shape), b


def test_the_lift_is_that_of_the_means():
    a, b = draw()
    found = bootstrap_lift(a, b, n_resamples=200)
    assert found.lift == pytest.approx(a.mean() / b.mean() - 1)
    assert found.low < found.lift < found.high


def test_ends_equal_those_of_a_slow_bootstrap():
    a, b = draw()
    rng = np.random.default_rng(1)
    lifts = []
    for _ in range(20_000):
        seeds = rng.integers(3, size=3)
        users = rng.integers(40, size=40)
        lifts.append(a[seeds][:, users].mean() / b[seeds][:, users].mean() - 1)
    found = bootstrap_lift(a, b, level=0.9, n_resamples=20_000)
    np.testing.assert_allclose([found.low, found.high], np.quantile(lifts, [0.05, 0.95]), atol=3e-3)


def test_equal_scores_have_no_spread():
    _, b = draw()
    found = bootstrap_lift(1.1 * b, b, n_resamples=100)
    np.testing.assert_allclose([found.lift, found.low, found.high], 0.1)


def test_runs_that_differ_widen_the_interval():
    a, b = draw(n_users=4000)
    shifted = a + np.array([[-0.1], [0.0], [0.1]])
    calm, wild = (bootstrap_lift(scores, b, n_resamples=1000) for scores in (a, shifted))
    assert wild.high - wild.low > 2 * (calm.high - calm.low)


def test_the_same_seed_gives_the_same_interval():
    a, b = draw()
    first = bootstrap_lift(a, b, n_resamples=300, seed=1)
    assert first == bootstrap_lift(a, b, n_resamples=300, seed=1)
    assert first != bootstrap_lift(a, b, n_resamples=300, seed=2)


def test_small_blocks_of_draws_are_as_good(monkeypatch):
    a, b = draw()
    whole = bootstrap_lift(a, b, n_resamples=20_000)
    monkeypatch.setattr(bootstrap, "_COUNTS", 7 * 40)
    found = bootstrap_lift(a, b, n_resamples=20_000)
    assert found.lift == whole.lift
    np.testing.assert_allclose([found.low, found.high], [whole.low, whole.high], atol=3e-3)


def test_about_as_many_intervals_hold_the_truth_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        b = 1 + 0.5 * rng.normal(size=(1, 200))
        a = b + 0.1 + 0.5 * rng.normal(size=b.shape)
        found = bootstrap_lift(a, b, n_resamples=300, seed=trial)
        held += found.low <= 0.1 <= found.high
    assert 0.91 < held / 300 < 0.98


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": np.ones((2, 3))}, r"shapes \(2, 3\) and \(3, 40\), expected two equal"),
        ({"a": np.ones(3), "b": np.ones(3)}, r"expected two equal \(n_seeds, n_users\)"),
        ({"a": np.ones((0, 3)), "b": np.ones((0, 3))}, "at least one of each"),
        ({"b": np.zeros((3, 40))}, "the mean of b is zero or below in a draw"),
        ({"b": np.eye(3, 40)}, "the mean of b is zero or below in a draw"),
        ({"a": np.full((3, 40), np.nan)}, "scores hold a NaN or infinite value"),
        ({"level": 1.0}, "level is 1.0, expected a number between 0 and 1"),
        ({"n_resamples": 0}, "n_resamples is 0, expected at least 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    a, b = draw()
    with pytest.raises(InputError, match=message):
        bootstrap_lift(**{"a": a, "b": b, **changes})
