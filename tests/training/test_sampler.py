"""Batches and negatives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sgurinit.data import Dataset, Interactions, planted
from sgurinit.errors import InputError
from sgurinit.training import sampler as sampler_module
from sgurinit.training.sampler import TripleSampler


def make_dataset(matrix: np.ndarray) -> Dataset:
    users, items = np.nonzero(matrix)
    return SimpleNamespace(
        name="made",
        train=Interactions(users, items),
        n_users=matrix.shape[0],
        n_items=matrix.shape[1],
        user_ids=np.array([f"u{n}" for n in range(len(matrix))]),
    )


def join(batches):
    return [torch.cat(column).numpy() for column in zip(*batches, strict=True)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(2, 10), st.integers(1, 9), st.integers(0, 50), st.booleans())
def test_each_interaction_once_and_never_a_positive_as_negative(
    n_users, n_items, batch_size, seed, seen_only
):
    matrix = np.random.default_rng(seed).random((n_users, n_items)) < 0.5
    matrix[:, -1] = False  # a cold item
    matrix[0, 0] = True
    if n_items > 2:  # no user has every item with an interaction
        matrix[:, 1] = False
        matrix[0, 1], matrix[0, 0] = n_users > 1, True
        matrix[1:, 0] = False
    if seen_only and (matrix.sum(axis=1) >= matrix.any(axis=0).sum()).any():
        return
    negatives = "seen" if seen_only else "all"
    batches = TripleSampler(make_dataset(matrix), batch_size, seed, negatives).epoch(0)
    users, positives, drawn = join(batches)
    assert sorted(zip(users, positives, strict=True)) == list(zip(*np.nonzero(matrix), strict=True))
    assert not matrix[users, drawn].any()
    assert all(len(batch.users) == batch_size for batch in batches[:-1])
    if seen_only:
        assert matrix.any(axis=0)[drawn].all()


def test_negatives_are_uniform_over_the_users_other_items():
    matrix = np.zeros((2, 6), dtype=bool)
    matrix[0, :2] = True
    matrix[1, 2:5] = True  # item 5 is cold
    sampler = TripleSampler(make_dataset(np.tile(matrix, (1000, 1))), 10_000, 0, "seen")
    drawn = np.zeros((2, 6))
    for epoch in range(3):
        users, _, negatives = join(sampler.epoch(epoch))
        np.add.at(drawn, (users % 2, negatives), 1)
    share = drawn / drawn.sum(axis=1, keepdims=True)
    expected = [[0, 0, 1 / 3, 1 / 3, 1 / 3, 0], [1 / 2, 1 / 2, 0, 0, 0, 0]]
    np.testing.assert_allclose(share, expected, atol=0.02)


@pytest.mark.parametrize("negatives", ["seen", "all"])
def test_negatives_that_many_attempts_would_miss_are_uniform_too(negatives, monkeypatch):
    """Users who have trained on almost all items would need thousands of attempts."""
    monkeypatch.setattr(sampler_module, "_MOST_ATTEMPTS", 0)
    matrix = np.random.default_rng(0).random((30, 60)) < np.linspace(0.05, 0.98, 30)[:, None]
    matrix[np.arange(30), np.arange(30)] = False
    matrix[:, 59] = False  # a cold item
    sampler = TripleSampler(make_dataset(matrix), 10_000, 0, negatives)
    drawn = np.zeros(matrix.shape)
    for epoch in range(50):
        users, _, items = join(sampler.epoch(epoch))
        np.add.at(drawn, (users, items), 1)
    assert not drawn[matrix].any()
    assert drawn[:, 59].any() == (negatives == "all")
    others = ~matrix
    others[:, 59] = negatives == "all"
    expected = others * (drawn.sum(axis=1) / others.sum(axis=1))[:, None]
    deviation = (drawn - expected)[others] / np.sqrt(expected[others])
    assert abs(deviation).max() < 5


def test_a_user_with_all_items_but_one_takes_no_time():
    matrix = np.zeros((2, 5000), dtype=bool)
    matrix[0, :4999], matrix[1, 4999] = True, True
    sampler = TripleSampler(make_dataset(matrix), 10_000, 0)
    users, _, drawn = join(sampler.epoch(0))
    assert (drawn[users == 0] == 4999).all()


def test_an_epoch_only_depends_on_seed_and_number():
    dataset = planted(200, 100)
    one, two = TripleSampler(dataset, 64, seed=4), TripleSampler(dataset, 64, seed=4)
    one.epoch(0)
    for a, b in zip(join(one.epoch(5)), join(two.epoch(5)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(join(one.epoch(5))[2], join(one.epoch(6))[2])
    assert not np.array_equal(
        join(one.epoch(5))[2], join(TripleSampler(dataset, 64, seed=5).epoch(5))[2]
    )


def test_a_draw_does_not_depend_on_those_of_other_interactions():
    """So it is the same however the work is divided."""
    matrix = np.zeros((3, 40), dtype=bool)
    matrix[0, :30], matrix[1, 5:35], matrix[2, 39] = True, True, True
    first = TripleSampler(make_dataset(matrix), 100, 0, "all")
    matrix[2, 39] = False
    second = TripleSampler(make_dataset(matrix), 100, 0, "all")
    one, two = (set(zip(*join(s.epoch(3)), strict=True)) for s in (first, second))
    assert two < one
    assert len(one - two) == 1


def test_a_user_with_every_item_is_named():
    with pytest.raises(InputError, match="user u1 has trained on all 3"):
        TripleSampler(make_dataset(np.array([[1, 0, 0], [1, 1, 1]])), 4, 0)
