"""Items that nobody used are placed at used items with similar content."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgurinit import SGURInit, load_dataset
from sgurinit.core import place_new_items
from sgurinit.core.steps import new_items
from sgurinit.core.steps.new_items import place_by_content
from sgurinit.data import hold_out_items
from sgurinit.errors import InputError


def make_case(n_items, width, distinct, seed):
    """Rows, content with equal rows and empty ones, and degrees with zeros."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(distinct, width))[rng.integers(distinct, size=n_items)]
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    content[rng.random(n_items) < 0.2] = 0
    degrees = rng.integers(0, 4, size=n_items).astype(np.float64)
    return rng.normal(size=(n_items, 3)), content, degrees


@given(
    n_items=st.integers(1, 40),
    width=st.integers(1, 5),
    distinct=st.integers(1, 40),
    n_neighbors=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_rows_equal_those_found_item_by_item(
    reference, n_items, width, distinct, n_neighbors, seed
):
    rows, content, degrees = make_case(n_items, width, distinct, seed)
    found, placed = place_by_content(rows, content, degrees, n_neighbors)
    expected = reference.places(rows, content, degrees, n_neighbors)
    assert set(np.flatnonzero(placed)) == set(expected)
    for item in range(n_items):
        row = rows[item] if degrees[item] else expected.get(item, np.zeros(3))
        np.testing.assert_allclose(found[item], row, atol=1e-9)


@given(seed=st.integers(0, 2**32))
def test_the_order_of_the_items_does_not_matter(seed):
    rows, content, degrees = make_case(30, 3, 8, seed)
    order = np.random.default_rng(seed).permutation(30)
    found, placed = place_by_content(rows, content, degrees, 4)
    again, placed_again = place_by_content(rows[order], content[order], degrees[order], 4)
    np.testing.assert_array_equal(placed_again, placed[order])
    np.testing.assert_allclose(again, found[order], atol=1e-9)


def test_what_is_not_read_may_be_anything_and_stays_as_it_was():
    rows, content, degrees = make_case(30, 3, 30, seed=1)
    rows[degrees == 0] = np.nan
    given_rows = rows.copy()
    found, _ = place_by_content(rows, content, degrees)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(rows, given_rows)


def test_rounding_errors_of_orthogonal_content_place_nothing():
    content = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 50)))[0]
    degrees = np.ones(50)
    degrees[:5] = 0
    assert np.abs(content[:5] @ content[5:].T).max() > 0
    found, placed = place_by_content(np.ones((50, 2)), content, degrees)
    assert not placed.any()
    assert not found[:5].any()


def test_blocks_of_new_items_give_what_all_give_at_once(monkeypatch):
    rows, content, degrees = make_case(200, 4, 200, seed=2)
    whole = place_by_content(rows, content, degrees)
    monkeypatch.setattr(new_items, "_BLOCK", 500)  # a few rows at a time
    for found, expected in zip(place_by_content(rows, content, degrees), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_of_very_many_used_items_those_with_most_users_are_looked_at(monkeypatch):
    content = np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [1.0, 0.0]])
    rows = np.array([[1.0], [2.0], [4.0], [0.0]])
    degrees = np.array([1.0, 2.0, 3.0, 0.0])
    assert place_by_content(rows, content, degrees, 1)[0][3] == 1.5
    monkeypatch.setattr(new_items, "_CANDIDATES", 2)
    assert place_by_content(rows, content, degrees, 1)[0][3] == 2.0
    monkeypatch.setattr(new_items, "_CANDIDATES", 1)
    assert place_by_content(rows, content, degrees, 1)[0][3] == 4.0


def test_vectors_of_any_model_get_rows_for_new_items(gappy):
    vectors = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    used = gappy.matrix.sum(axis=0) > 0
    found = place_new_items(vectors, gappy.matrix, gappy.features)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[used], vectors[used])
    assert (found[~used] != vectors[~used]).any(axis=1).any()
    # A vector of a new item is a mean of used ones, whatever it was before.
    again = np.where(used[:, None], vectors, np.nan)
    np.testing.assert_array_equal(
        place_new_items(again, gappy.matrix, gappy.features)[(found != vectors).any(axis=1)],
        found[(found != vectors).any(axis=1)],
    )
    # The mean of more vectors is shorter.
    nearest = place_new_items(vectors, gappy.matrix, gappy.features, n_neighbors=1)
    assert np.linalg.norm(nearest[~used]) > np.linalg.norm(found[~used])


def test_a_dataset_has_its_own_features():
    data = hold_out_items(load_dataset("xwines"), 0.2, seed=0)
    rows = np.random.default_rng(0).normal(size=(data.n_items, 4)).astype(np.float32)
    found = place_new_items(rows, data)
    np.testing.assert_array_equal(found, place_new_items(rows, data.train_matrix(), data.features))
    assert (found[data.popularity() == 0] != rows[data.popularity() == 0]).any(axis=1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": np.zeros(40)}, r"shape \(40,\), expected a vector for each of the 40 items"),
        ({"items": np.zeros((39, 2))}, r"shape \(39, 2\), expected a vector for each of the 40"),
        ({"items": np.full((40, 2), np.nan)}, "NaN or infinite value in the vector of a used item"),
        ({"n_neighbors": 0}, "n_neighbors is 0, expected an integer of at least 1"),
        ({"features": None}, "features are missing"),
    ],
)
def test_what_cannot_be_used_is_named(gappy, changes, message):
    arguments = {"items": np.zeros((40, 2)), "features": gappy.features, **changes}
    with pytest.raises(InputError, match=message):
        place_new_items(interactions=gappy.matrix, **arguments)


@pytest.mark.parametrize("name", ["lastfm", "xwines"])
@pytest.mark.slow
def test_new_items_are_found_among_all_items_of_real_data(data_root, name):
    if name == "lastfm" and not (data_root / name).is_dir():
        pytest.skip(f"no real data in {data_root}; set SGURINIT_DATA to the folder that holds them")
    data = hold_out_items(load_dataset(data_root / name if name == "lastfm" else name), 0.2, seed=0)
    degrees = data.popularity()
    joint = SGURInit.from_preset("hybrid", random_state=0).fit(data).start_.joint(64)
    rare = np.zeros(data.n_items, bool)
    used = np.flatnonzero(degrees)
    rare[used[np.argsort(degrees[used], kind="stable")[: len(used) // 2]]] = True
    scores = joint.users @ joint.items.T
    scores[data.train_matrix().nonzero()] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    wanted = data.valid.matrix(data.n_users, data.n_items).toarray() > 0

    def recall(items):
        chosen = wanted & items
        users = np.flatnonzero(chosen.any(axis=1))
        found = np.take_along_axis(chosen[users], best[users], axis=1).sum(axis=1)
        return np.mean(found / chosen[users].sum(axis=1))

    assert recall(degrees == 0) > 0
    assert recall(degrees == 0) >= recall(rare) / 2
