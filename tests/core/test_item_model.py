"""Directions of the interactions, and the item model, against dense float64 references."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sgurinit.core.inputs import features
from sgurinit.core.steps import collaborative, item_model
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.collaborative import Directions, PartSums, find_directions
from sgurinit.core.steps.item_model import fit_item_model, reduce_item_model
from sgurinit.data import planted

ALL = 1000  # directions: more than there are items


def parts_of(matrix: sp.csr_array, n_parts: int = 1) -> list:
    """Users divided among parts; with more parts than users some have none."""
    bounds = np.linspace(0, matrix.shape[0], n_parts + 1).astype(int)
    return [partial(matrix.__getitem__, slice(*pair)) for pair in pairwise(bounds)]


def directions_of(matrix, rank=ALL, n_parts=1, **options) -> Directions:
    with PartSums(parts_of(matrix, n_parts), **options) as sums:
        return find_directions(sums, count_item_degrees(matrix), rank)


def rows_of(matrix, content, penalty, weight, dim, rank=ALL, n_parts=1, **options) -> np.ndarray:
    with PartSums(parts_of(matrix, n_parts), **options) as sums:
        directions = find_directions(sums, count_item_degrees(matrix), rank)
        return reduce_item_model(fit_item_model(directions, content, penalty, weight), sums, dim)


def baskets_of(matrix) -> list[np.ndarray]:
    return [np.flatnonzero(row) for row in matrix.toarray()]


def correlations_of(model) -> np.ndarray:
    return model.multiply(np.eye(len(model.rows)))


def make_interactions(n_users=60, n_items=40, seed=3, share=0.3) -> sp.csr_array:
    """Items differ in popularity; one item and one user have nothing."""
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < rng.random(n_items) * share
    dense[:, 7] = False
    dense[min(5, n_users - 1)] = False
    dense[0, 0] = True
    return sp.csr_array(dense.astype(np.float64))


def make_content(n_items=40, width=6, seed=4) -> np.ndarray:
    """Unit rows; every fourth item has none."""
    rows = np.random.default_rng(seed).normal(size=(n_items, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[::4] = 0
    return rows


@pytest.fixture(scope="module")
def sparse() -> sp.csr_array:
    return make_interactions()


@pytest.fixture(scope="module")
def content() -> np.ndarray:
    return make_content()


class TestDirections:
    def test_with_as_many_directions_as_items_the_gram_matrix_is_exact(self, sparse, reference):
        gram = reference.gram(baskets_of(sparse), 40)
        found = directions_of(sparse, 40)
        np.testing.assert_allclose(found.columns @ found.columns.T, gram, atol=1e-12)
        np.testing.assert_allclose(found.squares, np.diag(gram), atol=1e-14)
        assert found.columns.shape[1] == np.linalg.matrix_rank(gram)
        assert not found.columns[7].any()

    def test_two_items_of_one_user_by_hand(self):
        # Both users have d = 2 and 1, the items d = 2 and 1, each plus one: x = 1 / sqrt(3) times
        # 3^-1/4 or 2^-1/4, and 1 / sqrt(2) times 3^-1/4.
        found = directions_of(sp.csr_array([[1.0, 1.0], [1.0, 0.0]]))
        popular = (1 / 3 + 1 / 2) / np.sqrt(3)
        expected = [[popular, 1 / 3 / 6**0.25], [1 / 3 / 6**0.25, 1 / 3 / np.sqrt(2)]]
        np.testing.assert_allclose(found.columns @ found.columns.T, expected, rtol=1e-12)

    def test_data_of_few_kinds_of_users_is_exact_with_as_many_directions(self, reference):
        # Six baskets, each of many users: rank six, with known directions.
        kinds = make_interactions(6, 80, seed=1, share=0.8).toarray()
        matrix = sp.csr_array(kinds[np.arange(90) % 6])
        gram = reference.gram(baskets_of(matrix), 80)
        found = directions_of(matrix, 8)
        np.testing.assert_allclose(found.columns @ found.columns.T, gram, atol=1e-10)
        assert found.columns.shape[1] == np.linalg.matrix_rank(gram)

    @pytest.mark.parametrize("rank", [3, 8, 20])
    def test_fewer_directions_are_nearly_the_leading_ones(self, rank, reference):
        # Three groups of users and items over noise. No approximation of this rank has an error
        # below the next eigenvalue.
        rng = np.random.default_rng(0)
        groups = np.arange(300)[:, None] % 3 == np.arange(120) % 3
        matrix = sp.csr_array((rng.random((300, 120)) < np.where(groups, 0.3, 0.03)).astype(float))
        gram = reference.gram(baskets_of(matrix), 120)
        values = np.linalg.eigvalsh(gram)[::-1]
        found = directions_of(matrix, rank)
        missed = gram - found.columns @ found.columns.T
        assert found.columns.shape == (120, rank)
        assert np.linalg.norm(missed, 2) < 1.25 * values[rank]
        # Never more than there is, so the diagonal that is missed is not negative.
        assert np.linalg.eigvalsh(missed)[0] > -1e-12
        np.testing.assert_allclose(found.squares, np.diag(gram), rtol=1e-12)
        again = directions_of(matrix, rank)
        for one, two in zip(found, again, strict=True):
            np.testing.assert_array_equal(one, two)

    def test_numbers_do_not_depend_on_the_threads_and_passes_are_reported(self, sparse):
        reported: list[int] = []
        one = directions_of(sparse, 9, 6, on_pass=reported.append)
        for n_jobs in (1, 3):
            for found, expected in zip(
                directions_of(sparse, 9, 6, n_jobs=n_jobs), one, strict=True
            ):
                np.testing.assert_array_equal(found, expected)
        assert reported == list(range(1, len(reported) + 1))
        assert len(reported) > 1

    @pytest.mark.parametrize("n_parts", [2, 7, 200])
    @pytest.mark.parametrize("rank", [9, 40])
    def test_parts_are_the_whole(self, n_parts, rank, sparse):
        whole, found = directions_of(sparse, rank), directions_of(sparse, rank, n_parts)
        gram = whole.columns @ whole.columns.T
        np.testing.assert_allclose(found.columns @ found.columns.T, gram, atol=1e-10)
        np.testing.assert_allclose(found.keys, whole.keys, rtol=1e-12)

    @pytest.mark.parametrize("rank", [9, 40])
    def test_few_columns_and_users_at_a_time_give_what_all_give_at_once(
        self, rank, sparse, monkeypatch
    ):
        reported: list[int] = []
        whole = directions_of(sparse, rank, on_pass=reported.append)
        n_passes = len(reported)
        monkeypatch.setattr(collaborative, "_BLOCK_BYTES", 8 * 40 * 4)
        monkeypatch.setattr(collaborative, "_BLOCK_USERS", 3)
        monkeypatch.setattr(collaborative, "_USERS_PER_ITEM", 0.125)
        reported.clear()
        found = directions_of(sparse, rank, on_pass=reported.append)
        assert len(reported) > n_passes
        gram = whole.columns @ whole.columns.T
        np.testing.assert_allclose(found.columns @ found.columns.T, gram, atol=1e-10)
        np.testing.assert_allclose(found.keys, whole.keys, rtol=1e-12)

    def test_keys_tell_items_of_different_users_apart(self, sparse):
        keys = directions_of(sparse).keys
        assert ((keys >= 0) & (keys <= 1)).all()
        used = keys[count_item_degrees(sparse) > 0]
        assert len(np.unique(used.round(12))) > 0.9 * len(used)
        same = sp.csr_array(sp.hstack([sparse, sparse], format="csr"))
        twice = directions_of(same).keys
        np.testing.assert_allclose(twice[:40], twice[40:], rtol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("columns", [1, 3, 7, 100])
def test_a_product_of_some_columns_at_a_time_is_the_product(columns, scaled, sparse, monkeypatch):
    rng = np.random.default_rng(0)
    block, scales = rng.normal(size=(40, 7)), rng.uniform(1, 2, 40)
    given_block = block.copy()
    monkeypatch.setattr(collaborative, "_BLOCK_BYTES", 8 * 40 * columns)
    widths = set()

    def compute(users, _processor, part):
        widths.add(part.shape[1])
        return users.T @ (users @ part)

    with PartSums(parts_of(sparse, 3)) as sums:
        found = sums.multiply(compute, block, scales if scaled else None)
    own = scales[:, None] if scaled else 1.0
    gram = (sparse.T @ sparse).toarray()
    np.testing.assert_allclose(found, own * (gram @ (own * block)), rtol=1e-12)
    assert max(widths) == min(columns, 7)
    np.testing.assert_array_equal(block, given_block)


class TestPartialCorrelations:
    @pytest.mark.parametrize("weight", [0.0, 0.1, 3.0])
    @pytest.mark.parametrize("penalty", [0.3, 10.0, 1000.0])
    def test_they_equal_those_of_the_inverted_matrix(
        self, penalty, weight, sparse, content, reference
    ):
        model = fit_item_model(directions_of(sparse), content, penalty, weight)
        expected = reference.item_model(baskets_of(sparse), 40, content, penalty, weight)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(correlations_of(model), expected, atol=1e-10 * scale)
        np.testing.assert_allclose(np.square(model.rows).sum(axis=1), model.diagonal)

    def test_blocks_of_rows_give_what_all_rows_give_at_once(self, sparse, content, monkeypatch):
        whole = correlations_of(fit_item_model(directions_of(sparse), content, 3.0, 0.3))
        monkeypatch.setattr(features, "_BLOCK_BYTES", 8 * 46 * 7)
        found = correlations_of(fit_item_model(directions_of(sparse), content, 3.0, 0.3))
        np.testing.assert_allclose(found, whole, atol=1e-12)

    def test_without_a_scale_they_are_the_coefficients_of_ease(self, sparse, reference):
        # EASE: B_ij = -P_ij / P_jj, which S_ij sqrt(P_ii / P_jj) equals.
        gram = reference.gram(baskets_of(sparse), 40)
        unit = np.diag(gram)[np.diag(gram) > 0].mean()
        inverse = np.linalg.inv(gram + 2.0 * unit * np.eye(40))
        ease = -inverse / np.diag(inverse)
        np.fill_diagonal(ease, 0)
        model = fit_item_model(directions_of(sparse), np.zeros((40, 1)), 2.0, 0.0)
        roots = np.sqrt(np.diag(inverse))
        found = correlations_of(model) * roots[:, None] / roots
        np.testing.assert_allclose(found, ease, atol=1e-12)

    def test_an_item_without_users_only_has_what_its_content_says(self, sparse, content):
        interactions = fit_item_model(directions_of(sparse), content, 3.0, 0.0)
        assert not correlations_of(interactions)[7].any()
        both = correlations_of(fit_item_model(directions_of(sparse), content, 3.0, 1.0))
        assert both[7].any()
        # The nearest item by content has a positive correlation with it.
        cosines = content @ content[7]
        cosines[7] = -1
        assert both[7, cosines.argmax()] > 0
        assert np.corrcoef(both[7], np.delete(np.append(cosines, 0), 40))[0, 1] > 0.5

    def test_an_item_with_neither_has_zeros(self, sparse, content):
        bare = content.copy()
        bare[7] = 0
        model = fit_item_model(directions_of(sparse), bare, 3.0, 1.0)
        assert not model.rows[7].any()

    def test_the_approximation_of_many_items_is_close(self, reference):
        matrix = make_interactions(400, 150, seed=8, share=0.1)
        content = make_content(150)
        expected = reference.item_model(baskets_of(matrix), 150, content, 30.0, 1.0)
        found = correlations_of(fit_item_model(directions_of(matrix, 60), content, 30.0, 1.0))
        assert np.linalg.norm(found - expected) < 0.3 * np.linalg.norm(expected)
        more = correlations_of(fit_item_model(directions_of(matrix, 110), content, 30.0, 1.0))
        assert np.linalg.norm(more - expected) < 0.1 * np.linalg.norm(expected)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("penalty", [1e-14, 1e-9, 1e-7, 1e-3, 1e12])
    @pytest.mark.parametrize("weight", [0.0, 3.0, 1e9])
    def test_it_stays_finite_where_there_are_no_correct_digits(self, dtype, penalty, weight):
        matrix, content = make_interactions(120, 80, seed=2), make_content(80)
        directions = Directions(*(values.astype(dtype) for values in directions_of(matrix)))
        model = fit_item_model(directions, content.astype(dtype), penalty, weight)
        assert np.isfinite(model.rows).all()

    def test_single_precision_is_close_for_settings_to_choose_from(self, sparse, content):
        exact = directions_of(sparse)
        single = Directions(*(values.astype(np.float32) for values in exact))
        for penalty, weight in ((1.0, 0.0), (1.0, 3.0), (1000.0, 3.0)):
            expected = correlations_of(fit_item_model(exact, content, penalty, weight))
            found = correlations_of(
                fit_item_model(single, content.astype(np.float32), penalty, weight)
            )
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


class TestReducedItems:
    @pytest.mark.parametrize("dim", [1, 3, 10, 64])
    @pytest.mark.parametrize(("penalty", "weight"), [(1.0, 0.0), (3.0, 1.0), (300.0, 0.1)])
    @pytest.mark.parametrize(("n_parts", "n_jobs"), [(1, None), (7, 2)])
    def test_inner_products_equal_the_reference(
        self, dim, penalty, weight, n_parts, n_jobs, sparse, content, reference
    ):
        items = rows_of(sparse, content, penalty, weight, dim, ALL, n_parts, n_jobs=n_jobs)
        baskets = baskets_of(sparse)
        model = reference.item_model(baskets, 40, content, penalty, weight)
        expected = reference.reduced(baskets, model, dim)
        assert items.shape == (40, dim)
        np.testing.assert_allclose(items @ items.T, expected, atol=1e-8 * np.abs(expected).max())

    def test_few_columns_rows_and_users_at_a_time_give_what_all_give_at_once(
        self, sparse, content, monkeypatch
    ):
        whole = rows_of(sparse, content, 3.0, 0.3, 10)
        monkeypatch.setattr(collaborative, "_BLOCK_BYTES", 8 * 40 * 4)
        monkeypatch.setattr(collaborative, "_BLOCK_USERS", 3)
        monkeypatch.setattr(collaborative, "_USERS_PER_ITEM", 0.125)
        monkeypatch.setattr(features, "_BLOCK_BYTES", 8 * 46 * 7)
        found = rows_of(sparse, content, 3.0, 0.3, 10)
        np.testing.assert_allclose(found @ found.T, whole @ whole.T, atol=1e-9)

    @pytest.mark.parametrize("shape", [(90, 12), (12, 12), (1, 1)])
    @pytest.mark.parametrize("smallest", [1.0, 1e-7])
    def test_the_basis_of_nearly_dependent_columns_is_orthonormal(
        self, shape, smallest, monkeypatch
    ):
        rng = np.random.default_rng(0)
        left, right = (np.linalg.qr(rng.normal(size=(n, shape[1])))[0] for n in shape)
        rows = (left * np.geomspace(1.0, smallest, shape[1])) @ right.T
        monkeypatch.setattr(features, "_BLOCK_BYTES", 8 * shape[1] * 7)
        basis = item_model._orthonormalize(rows)
        np.testing.assert_allclose(basis.T @ basis, np.eye(shape[1]), atol=1e-12)
        np.testing.assert_allclose(basis @ (basis.T @ rows), rows, atol=1e-12)

    def test_the_basis_of_zeros_is_empty(self):
        assert item_model._orthonormalize(np.zeros((5, 3))).shape == (5, 0)

    @pytest.mark.parametrize("n_users", [1, 3, 6])
    @pytest.mark.parametrize("weight", [0.0, 1.0])
    def test_there_are_no_more_columns_than_users(self, n_users, weight, content, reference):
        # Nothing is predicted for anybody in further directions, which are arbitrary.
        matrix, dim = make_interactions(n_users, 40, seed=n_users, share=1.0), 16
        items = rows_of(matrix, content, 3.0, weight, dim)
        assert items.any(axis=0).sum() <= n_users
        baskets = baskets_of(matrix)
        model = reference.item_model(baskets, 40, content, 3.0, weight)
        expected = reference.reduced(baskets, model, dim)
        np.testing.assert_allclose(items @ items.T, expected, atol=1e-8 * np.abs(expected).max())

    def test_columns_are_ordered_signed_and_zero_beyond_the_rank(self, sparse, content):
        items = rows_of(sparse, content, 3.0, 1.0, 60)
        lengths = np.linalg.norm(items, axis=0)
        assert (np.diff(lengths) <= 1e-9).all()
        assert not items[:, 40:].any()
        largest = np.abs(items).argmax(axis=0)
        assert (items[largest, np.arange(60)] >= 0).all()

    def test_a_group_of_items_shares_one_direction(self):
        # Five users of items 0 and 1, three of items 2 and 3, and nobody has item 4.
        dense = np.zeros((8, 5))
        dense[:5, :2] = 1
        dense[5:, 2:4] = 1
        items = rows_of(sp.csr_array(dense), np.zeros((5, 1)), 1.0, 0.0, 4)
        products = items @ items.T
        np.testing.assert_allclose(products[0, 1], products[0, 0], rtol=1e-9)
        np.testing.assert_allclose(products[2, 3], products[2, 2], rtol=1e-9)
        assert products[0, 0] > 0
        assert products[2, 2] > 0
        np.testing.assert_allclose(products[:2, 2:], 0, atol=1e-12)
        assert not items[4].any()
        assert items.any(axis=0).sum() == 2

    def test_items_that_nothing_connects_have_zeros(self):
        items = rows_of(sp.csr_array(np.eye(6)), np.zeros((6, 1)), 1.0, 0.0, 3)
        assert items.shape == (6, 3)
        assert not items.any()

    @pytest.mark.parametrize("rank", [12, ALL])
    @pytest.mark.parametrize("weight", [0.0, 1.0])
    def test_the_order_of_users_and_items_does_not_matter(self, rank, weight, sparse, content):
        rng = np.random.default_rng(0)
        users, items = rng.permutation(60), rng.permutation(40)
        plain = rows_of(sparse, content, 10.0, weight, 5, rank)
        products = plain @ plain.T
        other = rows_of(sparse[users][:, items], content[items], 10.0, weight, 5, rank)
        np.testing.assert_allclose(
            other @ other.T, products[items][:, items], atol=1e-6 * products.max()
        )

    def test_the_order_does_not_matter_with_many_directions(self):
        # Hundreds of directions: numbers that follow from the users must set as many apart.
        matrix = sp.csr_array(planted(1500, 600).train_matrix().astype(np.float64))
        rng = np.random.default_rng(0)
        users, items = (rng.permutation(size) for size in matrix.shape)
        plain = directions_of(matrix, 256).columns
        other = directions_of(matrix[users][:, items], 256).columns
        assert plain.shape[1] == other.shape[1] == 256
        products = plain @ plain.T
        np.testing.assert_allclose(
            other @ other.T, products[items][:, items], atol=1e-6 * products.max()
        )

    @settings(max_examples=40, deadline=None)
    @given(
        hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))),
        st.integers(1, 12),
        st.integers(1, 12),
        st.sampled_from([0.01, 1.0, 100.0]),
        st.sampled_from([0.0, 0.3, 3.0]),
    )
    def test_any_interactions_give_finite_rows(self, dense, dim, rank, penalty, weight):
        dense[0, 0] = True
        matrix = sp.csr_array(dense.astype(float))
        content = make_content(dense.shape[1], 2)
        items = rows_of(matrix, content, penalty, weight, dim, rank, n_parts=3)
        assert items.shape == (dense.shape[1], dim)
        assert np.isfinite(items).all()
        unknown = ~dense.any(axis=0) & ~(content.any(axis=1) & (weight > 0))
        assert (np.abs(items[unknown]) < 1e-12).all()
        # Never more than the part of the model that is not negative.
        assert items.any(axis=0).sum() <= min(dense.shape)
