"""Settings of the item model: what is held out, the search, and what is chosen on known data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sgurinit.core.steps import held_out
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.collaborative import PartSums, find_directions
from sgurinit.core.steps.held_out import (
    CONTENT_WEIGHTS,
    DEFAULT_CONTENT_WEIGHT,
    DEFAULT_PENALTY,
    PENALTIES,
    ItemModelSettings,
    choose_settings,
    sample_users,
)

N_SPLITS = 3


def make_interactions(n_users=1500, n_items=120, seed=0, n_groups=6) -> sp.csr_array:
    """Groups of users who like a group of items, over noise; items differ in popularity."""
    rng = np.random.default_rng(seed)
    same = np.arange(n_users)[:, None] % n_groups == np.arange(n_items) % n_groups
    share = np.where(same, 0.35, 0.04) * rng.uniform(0.3, 1.5, n_items)
    return sp.csr_array((rng.random((n_users, n_items)) < share).astype(np.float64))


def directions_of(matrix, rank=1000):
    with PartSums([lambda: matrix]) as sums:
        return find_directions(sums, count_item_degrees(matrix), rank)


def split(matrix, number):
    """Return what is fitted on, and what is held out of anybody."""
    keys = directions_of(matrix).keys
    found = held_out._hold_out(matrix, keys, sample_users([lambda: matrix], keys).keys, number)
    return found, sp.csr_array(matrix - found.fitted)


def choose(matrix, content, dim=8, rank=32, penalty=None, content_weight=None, **options):
    directions = directions_of(matrix, rank)
    sample = sample_users([lambda: matrix], directions.keys)
    return choose_settings(
        sample,
        directions,
        content,
        dim,
        rank,
        penalty=penalty,
        content_weight=content_weight,
        **options,
    )


@pytest.fixture(scope="module")
def matrix() -> sp.csr_array:
    return make_interactions()


@pytest.fixture(scope="module")
def content(matrix) -> np.ndarray:
    """Content that tells the group of an item."""
    n_items = matrix.shape[1]
    noise = np.random.default_rng(1).normal(scale=0.15, size=(n_items, 6))
    rows = np.eye(6)[np.arange(n_items) % 6] + noise
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class TestSplits:
    def test_each_holds_out_a_tenth_and_they_are_disjoint(self, matrix):
        together = np.zeros(matrix.shape)
        for number in range(N_SPLITS):
            found, out = split(matrix, number)
            assert set(out.data) <= {0.0, 1.0}
            assert out.sum() == pytest.approx(0.1 * matrix.nnz, rel=0.05)
            assert found.fitted.sum() + out.sum() == matrix.nnz
            together += out.toarray()
        assert together.max() == 1

    def test_the_users_to_score_are_those_who_lost_something(self, matrix):
        found, out = split(matrix, 0)
        users = np.flatnonzero(out.sum(axis=1))
        np.testing.assert_array_equal(found.held_out.toarray(), out.toarray()[users])
        np.testing.assert_array_equal(found.seen.toarray(), found.fitted.toarray()[users])

    def test_every_user_keeps_an_interaction(self):
        rng = np.random.default_rng(0)
        sparse = sp.csr_array((rng.random((3000, 40)) < 0.05).astype(float))
        had = sparse.sum(axis=1) > 0
        for number in range(N_SPLITS):
            found, out = split(sparse, number)
            assert (found.fitted.sum(axis=1)[had] >= 1).all()
            assert out.sum() > 0.05 * sparse.nnz

    @pytest.mark.parametrize("of", ["items", "users"])
    @pytest.mark.parametrize("number", range(N_SPLITS))
    def test_pairs_are_held_out_together_as_often_as_by_chance(self, of, number):
        # If the choice for (u, i) were a function of a sum of a key of u and a key of i, users of
        # similar keys would lose the same items: some pairs often, others never. The right number
        # on average hides it, so the spread over the pairs is compared with that of chance.
        dense = np.random.default_rng(1).random((400, 400)) < 0.5
        matrix = sp.csr_array(dense.astype(float))
        _, out = split(matrix, number)
        both, lost = (m.toarray() if of == "items" else m.toarray().T for m in (matrix, out))
        share = lost.sum() / both.sum()
        shared, together = both.T @ both, lost.T @ lost
        pairs = np.triu_indices(400, 1)
        expected = shared[pairs] * share**2
        spread = np.square(together[pairs] - expected) / (expected * (1 - share**2))
        assert together[pairs].mean() == pytest.approx(expected.mean(), rel=0.1)
        assert spread.mean() < 1.3

    def test_a_key_that_adds_up_would_be_noticed(self, monkeypatch):
        monkeypatch.setattr(
            held_out,
            "_hold_out",
            lambda matrix, items, users, _: held_out._Split(
                sp.csr_array(matrix * _kept(items, users)), matrix, matrix
            ),
        )
        with pytest.raises(AssertionError):
            self.test_pairs_are_held_out_together_as_often_as_by_chance("items", 0)

    @pytest.mark.parametrize("number", range(N_SPLITS))
    def test_the_order_of_users_and_items_does_not_matter(self, number, matrix):
        rng = np.random.default_rng(number)
        users, items = rng.permutation(matrix.shape[0]), rng.permutation(matrix.shape[1])
        _, out = split(matrix, number)
        _, other = split(sp.csr_array(matrix[users][:, items]), number)
        np.testing.assert_array_equal(other.toarray(), out.toarray()[users][:, items])

    def test_few_users_are_scored_where_there_are_many(self, matrix, monkeypatch):
        monkeypatch.setattr(held_out, "_FEWEST_USERS", 50)
        monkeypatch.setattr(held_out, "_SCORES", 100 * matrix.shape[1])
        found, out = split(matrix, 0)
        assert found.seen.shape[0] == found.held_out.shape[0] == 100
        assert out.sum() == pytest.approx(0.1 * matrix.nnz, rel=0.05)


def _kept(items: np.ndarray, users: np.ndarray) -> np.ndarray:
    drawn = np.modf(users[:, None] + held_out._mix(items, 2.0))[0]
    return (drawn >= 0.1).astype(float)


class TestSample:
    def test_small_data_are_taken_whole_in_any_parts(self, matrix):
        keys = directions_of(matrix).keys
        whole = sample_users([lambda: matrix], keys)
        np.testing.assert_array_equal(whole.matrix.toarray(), matrix.toarray())
        assert ((whole.keys >= 0) & (whole.keys < 1)).all()
        parts = [lambda: matrix[:700], lambda: matrix[700:700], lambda: matrix[700:]]
        found = sample_users(parts, keys)
        np.testing.assert_array_equal(found.matrix.toarray(), matrix.toarray())
        np.testing.assert_array_equal(found.keys, whole.keys)

    def test_large_data_are_sampled_by_user_in_any_order(self, matrix, monkeypatch):
        monkeypatch.setattr(held_out, "_SAMPLE_INTERACTIONS", matrix.nnz // 4)
        keys = directions_of(matrix).keys
        found = sample_users([lambda: matrix], keys)
        assert found.matrix.nnz == pytest.approx(matrix.nnz / 4, rel=0.15)
        order = np.random.default_rng(0).permutation(matrix.shape[0])
        other = sample_users([lambda: matrix[order]], keys)
        rows = {tuple(row) for row in found.matrix.toarray()}
        assert {tuple(row) for row in other.matrix.toarray()} == rows
        # Who is sampled is unrelated to what is then held out.
        assert found.keys.min() < 0.1
        assert found.keys.max() > 0.9


class TestSearch:
    @staticmethod
    def score(at_penalty, at_weight, sharpness=0.1):
        """A score with one summit."""

        def compute(found: ItemModelSettings) -> float:
            far = np.log(found.penalty / at_penalty) ** 2
            far += np.log((found.content_weight + 0.01) / (at_weight + 0.01)) ** 2
            return float(np.exp(-sharpness * far))

        return compute

    @pytest.mark.parametrize("penalty", PENALTIES)
    @pytest.mark.parametrize("weight", CONTENT_WEIGHTS)
    def test_it_finds_the_summit(self, penalty, weight):
        found = held_out._search(self.score(penalty, weight), None, None)
        assert found == ItemModelSettings(penalty, weight)

    def test_what_is_given_is_kept(self):
        compute = self.score(30.0, 0.3)
        assert held_out._search(compute, 7.0, None) == (7.0, 0.3)
        assert held_out._search(compute, None, 0.5) == (30.0, 0.5)
        assert held_out._search(compute, 7.0, 0.5) == (7.0, 0.5)

    def test_of_nearly_equal_weights_the_largest_is_chosen(self):
        scores = {0.0: 1.0, 0.03: 1.02, 0.1: 1.025, 0.3: 1.016, 1.0: 1.01, 3.0: 0.9}
        found = held_out._search(lambda at: scores[at.content_weight], 10.0, None)
        assert found == (10.0, 0.3)

    def test_the_penalty_is_chosen_again_for_the_weight(self):
        # With content, a larger penalty is best.
        def compute(at: ItemModelSettings) -> float:
            best = 300.0 if at.content_weight > 0 else 3.0
            return float(np.exp(-abs(np.log(at.penalty / best))) + at.content_weight)

        assert held_out._search(compute, None, None) == (300.0, 3.0)

    def test_the_ndcg_of_a_ranking_worked_by_hand(self):
        # The user has item 0, which scores 3, 2, 1 for items 1, 2, 3; items 2 and 3 are held out.
        items = np.array([[1.0, 0], [3, 0], [2, 0], [1, 0]])
        seen, wanted = (
            sp.csr_array(np.array([row], float)) for row in ([1, 0, 0, 0], [0, 0, 1, 1])
        )
        found = held_out._compute_ndcg(items, held_out._Split(seen, seen, wanted))
        gain = 1 / np.log2([3, 4])
        assert found == pytest.approx(gain.sum() / (1 + gain[0]), rel=1e-6)


class TestChoice:
    @pytest.mark.parametrize("given", [(None, None), (30.0, None), (None, 0.3)])
    def test_settings_come_from_the_grid_or_are_kept(self, given, matrix, content):
        found = choose(matrix[:300], content, penalty=given[0], content_weight=given[1])
        for value, known, grid in zip(found, given, (PENALTIES, CONTENT_WEIGHTS), strict=True):
            assert value == known if known is not None else value in grid

    def test_of_very_many_items_those_with_most_users_take_part(self, matrix, content, monkeypatch):
        seen = []

        class Judge(held_out._Judge):
            def __init__(self, split, own, *rest, **machine):
                seen.append((split, own))
                super().__init__(split, own, *rest, **machine)

        monkeypatch.setattr(held_out, "_Judge", Judge)
        monkeypatch.setattr(held_out, "_MOST_ITEMS", 30)
        found = choose(matrix[:300], content, penalty=30.0)
        assert found.content_weight in CONTENT_WEIGHTS
        degrees = matrix[:300].sum(axis=0)
        (split, own), *_ = seen
        assert split.seen.shape[1] == len(own) == 30
        kept = (content[:, None] == own).all(axis=2).any(axis=1)
        assert kept.sum() == 30
        assert degrees[kept].min() >= degrees[~kept].max()

    def test_of_items_with_equally_many_users_the_keys_choose(self, monkeypatch):
        degrees, keys = np.array([2.0, 5, 0, 2, 2]), np.array([0.9, 0.5, 0.0, 0.1, 0.4])
        assert held_out._find_items(degrees, keys).tolist() == [True, True, False, True, True]
        monkeypatch.setattr(held_out, "_MOST_ITEMS", 2)
        assert held_out._find_items(degrees, keys).tolist() == [False, True, False, True, False]

    def test_what_is_given_needs_no_search(self, matrix, content, monkeypatch):
        monkeypatch.setattr(held_out, "_Judge", None)
        assert choose(matrix, content, penalty=2.0, content_weight=0.7) == (2.0, 0.7)

    def test_without_content_its_weight_is_zero(self, matrix):
        none = np.zeros((120, 1))
        assert choose(matrix[:200], none).content_weight == 0.0
        assert choose(matrix[:200], none, penalty=5.0, content_weight=1.0) == (5.0, 0.0)

    @pytest.mark.parametrize(
        "dense", [np.eye(4), np.ones((3, 1)), [[1.0, 0.0]], np.zeros((2, 3))], ids=str
    )
    def test_the_defaults_are_used_where_nothing_can_be_held_out(self, dense):
        few = sp.csr_array(np.asarray(dense))
        content = np.ones((few.shape[1], 1))
        directions = directions_of(sp.csr_array(np.ones(few.shape)))
        sample = sample_users([lambda: few], directions.keys)
        options = {"penalty": None, "content_weight": None}
        found = choose_settings(sample, directions, content, 2, 4, **options)
        assert found == (DEFAULT_PENALTY, DEFAULT_CONTENT_WEIGHT)
        found = choose_settings(sample, directions, content, 2, 4, **options | {"penalty": 3.0})
        assert found == (3.0, DEFAULT_CONTENT_WEIGHT)

    def test_content_that_changes_no_score_keeps_its_default_weight(self, matrix):
        """Only an item without interactions has content."""
        lonely = matrix[:300].tolil()
        lonely[:, 0] = 0
        content = np.zeros((matrix.shape[1], 2))
        content[0] = (1.0, 0.0)
        found = choose(sp.csr_array(lonely), content)
        assert found.content_weight == DEFAULT_CONTENT_WEIGHT

    @pytest.mark.parametrize("shape", [(1, 2), (1, 40), (2, 2), (30, 2)])
    def test_tiny_data_give_allowed_settings(self, shape):
        found = choose(sp.csr_array(np.ones(shape)), np.eye(shape[1]))
        assert found.penalty in PENALTIES
        assert found.content_weight in (*CONTENT_WEIGHTS, DEFAULT_CONTENT_WEIGHT)

    @pytest.mark.parametrize("penalty", [1e-12, 1e-8, 1e12])
    def test_an_extreme_penalty_is_no_obstacle(self, penalty, matrix, content):
        found = choose(matrix[:200], content, penalty=penalty)
        assert found.penalty == penalty

    @pytest.mark.slow
    def test_order_parts_and_threads_do_not_matter(self, matrix, content):
        rng = np.random.default_rng(0)
        some = sp.csr_array(matrix[:400])
        users, items = rng.permutation(400), rng.permutation(120)
        expected = choose(some, content)
        assert choose(some, content, n_jobs=2) == expected
        assert choose(sp.csr_array(some[users][:, items]), content[items]) == expected

    @pytest.mark.slow
    def test_content_counts_where_it_is_informative(self, content):
        sparse = make_interactions(1500, seed=5)
        rare = sparse.multiply(np.random.default_rng(0).random(sparse.shape) < 0.12).tocsr()
        assert choose(sp.csr_array(rare), content).content_weight >= 0.1
