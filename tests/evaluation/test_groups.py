"""Groups of items and users, and rankings restricted to some items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgurinit.data import Dataset, Interactions, planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking, group_items, group_users, make_group_rankings


@pytest.fixture(scope="module")
def small() -> Dataset:
    return planted(120, 80, n_topics=6)


def test_items_fall_into_one_group_each_by_popularity(small: Dataset) -> None:
    groups = group_items(small)
    assert list(groups) == ["cold items", "tail items", "head items"]
    np.testing.assert_array_equal(sum(groups.values()), 1)
    popularity = small.popularity()
    assert (popularity[groups["cold items"]] == 0).all()
    assert popularity[groups["head items"]].min() >= popularity[groups["tail items"]].max()
    warm = np.count_nonzero(popularity)
    assert np.count_nonzero(groups["head items"]) == round(0.2 * warm)


def test_ties_at_the_border_are_split_by_position() -> None:
    dataset = Dataset(
        name="ties", layout="memory", train=Interactions([0] * 5, range(5)),
        valid=Interactions([0], [5]), test=Interactions([0], [6]), features={"x": np.eye(7)},
        user_ids=[0], item_ids=range(7),
    )  # fmt: skip
    assert np.flatnonzero(group_items(dataset)["head items"]).tolist() == [0]


@pytest.mark.slow
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_every_user_is_in_one_group_and_groups_are_ranges(counts: list[int]) -> None:
    n_train = np.array(counts)
    groups = group_users(n_train)
    np.testing.assert_array_equal(sum(members.astype(int) for members in groups.values()), 1)
    assert 1 <= len(groups) <= 3
    for name, members in groups.items():
        low, _, high = name.removeprefix("users with ").partition("-")
        assert members.any()
        np.testing.assert_array_equal(
            members, (n_train >= int(low)) & (n_train <= int(high or low))
        )


def test_groups_are_thirds_if_counts_differ() -> None:
    assert [int(m.sum()) for m in group_users(np.arange(1, 10)).values()] == [3, 3, 3]
    assert list(group_users(np.arange(1, 10))) == [
        "users with 1-3", "users with 4-6", "users with 7-9",
    ]  # fmt: skip
    assert list(group_users(np.array([2, 2]))) == ["users with 2"]
    with pytest.raises(InputError, match="n_train is empty"):
        group_users(np.array([], dtype=int))


def compute_recall(
    dataset: Dataset, scores: np.ndarray, right: np.ndarray, ranked: np.ndarray
) -> dict:
    """Compute recall@20 by user, in plain loops."""
    found = {}
    for user in range(dataset.n_users):
        train = set(dataset.train.items[dataset.train.users == user])
        test = {i for i in dataset.test.items[dataset.test.users == user] if right[i]}
        if test:
            order = sorted(
                (i for i in range(dataset.n_items) if i not in train and ranked[i]),
                key=lambda i: (-scores[user, i], i),
            )
            found[user] = len(test & set(order[:20])) / len(test)
    return found


def test_restricted_rankings_equal_plain_loops(small: Dataset) -> None:
    scores = np.random.default_rng(0).normal(size=(small.n_users, small.n_items))
    before = scores.copy()
    tensor = torch.from_numpy(scores)
    groups = group_items(small)
    every = np.ones(small.n_items, dtype=bool)
    names = []
    for name, ranking in make_group_rankings(small, mask_valid=False):
        names.append(name)
        right = groups.get(name, groups["cold items"])
        expected = compute_recall(
            small, scores, right, right if name == "cold among cold" else every
        )
        assert ranking.users.tolist() == list(expected)
        found = ranking.evaluate(lambda users: tensor[users])["recall@20"]
        np.testing.assert_allclose(found, list(expected.values()), rtol=1e-12)
    assert names == ["cold items", "cold among cold", "tail items", "head items"]
    np.testing.assert_array_equal(scores, before)


def test_a_group_of_all_items_has_the_scores_of_all_items(small: Dataset) -> None:
    scores = torch.randn(small.n_users, small.n_items)
    every = np.ones(small.n_items, dtype=bool)
    plain = FullRanking(small, "test").evaluate(lambda users: scores[users])
    same = FullRanking(small, "test", positives=every, candidates=every)
    for name, values in same.evaluate(lambda users: scores[users]).items():
        np.testing.assert_array_equal(values, plain[name])
