"""Rules that hold for any interactions and features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sgurinit.core import SGURInit, semantic_gap
from sgurinit.core.steps.aggregate import (
    ItemSide,
    aggregate_users,
    compute_fallback,
    compute_item_weights,
    count_clusters,
    count_item_degrees,
)
from sgurinit.core.steps.clusters import cluster_rows

quick = settings(max_examples=25, deadline=None)
norms = st.sampled_from(["sym", "mean"])
weights = st.floats(0, 1)


@pytest.fixture(scope="module", autouse=True)
def _no_classifier():
    """Leave out the slowest part of the diagnostics, which no rule here is about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic_gap, "_measure_separability", lambda *_: None)
        yield


@st.composite
def worlds(draw):
    """A binary matrix with at least one interaction, and item features with distinct rows."""
    n_users, n_items = draw(st.integers(1, 12)), draw(st.integers(3, 10))
    dense = draw(hnp.arrays(np.bool_, (n_users, n_items)))
    dense[draw(st.integers(0, n_users - 1)), draw(st.integers(0, n_items - 1))] = True
    width = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**16))
    values = np.random.default_rng(seed).normal(size=(n_items, width)) * draw(
        st.sampled_from([1e-3, 1.0, 50.0])
    )
    return sp.csr_array(dense.astype(float)), values


def fit(matrix, values, **params):
    params = {"n_clusters": 2, "random_state": 0} | params
    return SGURInit(**params).fit(matrix, {"m": values}).start_


def assert_close(found, expected):
    scale = max(float(np.abs(expected).max()), 1e-30)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * scale)


@quick
@given(worlds(), norms, weights, st.randoms(use_true_random=False))
def test_permuted_users_have_permuted_starts(world, norm, local_weight, random):
    matrix, values = world
    order = list(range(matrix.shape[0]))
    random.shuffle(order)
    start = fit(matrix, values, local_norm=norm, local_weight=local_weight)
    found = fit(matrix[order], values, local_norm=norm, local_weight=local_weight)
    assert_close(found.users["m"], start.users["m"][order])


@quick
@given(worlds(), norms, weights, st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(world, norm, local_weight, random):
    matrix, values = world
    order = list(range(matrix.shape[1]))
    random.shuffle(order)
    start = fit(matrix, values, local_norm=norm, local_weight=local_weight)
    found = fit(matrix[:, order], values[order], local_norm=norm, local_weight=local_weight)
    assert_close(found.users["m"], start.users["m"])
    np.testing.assert_array_equal(found.clusters["m"].labels, start.clusters["m"].labels[order])


@pytest.mark.slow
@quick
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter_to_the_joint_space(world, random):
    matrix, values = world
    order = list(range(matrix.shape[1]))
    random.shuffle(order)
    one = fit(matrix, values).joint(1)
    two = fit(matrix[:, order], values[order]).joint(1)
    np.testing.assert_allclose(two.items, one.items[order], atol=1e-5)


@quick
@given(worlds(), st.floats(-100, 100).filter(lambda value: abs(value) > 1e-3))
def test_the_mean_of_a_constant_is_the_constant(world, constant):
    matrix, values = world
    users = fit(
        matrix, np.full_like(values, constant), n_clusters=1, local_norm="mean", local_weight=1.0
    )
    np.testing.assert_allclose(users.users["m"], constant, rtol=1e-6)


@quick
@given(worlds())
def test_symmetric_weights_send_root_item_degrees_to_root_user_degrees(world):
    # D_U^-1/2 R D_I^-1/2 (D_I^1/2 1) = D_U^1/2 1
    matrix, _ = world
    roots = np.sqrt(np.bincount(matrix.indices, minlength=matrix.shape[1])).reshape(-1, 1)
    start = fit(matrix, roots, n_clusters=1, local_weight=1.0, local_norm="sym")
    degrees = np.diff(matrix.indptr)
    found = start.users["m"][degrees > 0, 0]
    np.testing.assert_allclose(found, np.sqrt(degrees[degrees > 0]), rtol=1e-6)


@quick
@given(worlds(), norms, weights, st.integers(2, 4))
def test_duplicates_change_nothing(world, norm, local_weight, times):
    matrix, values = world
    once = np.argwhere(matrix.toarray())
    last = np.array([[matrix.shape[0] - 1, once[0, 1]]])  # the edge list must reach the last user
    once = np.unique(np.concatenate([once, last]), axis=0)
    start = fit(once, values, local_norm=norm, local_weight=local_weight)
    found = fit(np.repeat(once, times, axis=0), values, local_norm=norm, local_weight=local_weight)
    np.testing.assert_array_equal(found.users["m"], start.users["m"])
    assert found.diagnostics.duplicate_interactions == (times - 1) * len(once)


@quick
@given(worlds(), norms, weights)
def test_the_weight_is_linear_between_local_and_global(world, norm, local_weight):
    matrix, values = world
    local = fit(matrix, values, local_norm=norm, local_weight=1.0).users["m"].astype(float)
    cluster = fit(matrix, values, local_norm=norm, local_weight=0.0).users["m"].astype(float)
    found = fit(matrix, values, local_norm=norm, local_weight=local_weight).users["m"]
    assert_close(found, local_weight * local + (1 - local_weight) * cluster)


@quick
@given(worlds(), norms, weights)
def test_transforming_the_training_interactions_gives_the_fit(world, norm, local_weight):
    matrix, values = world
    estimator = SGURInit(
        n_clusters=2, local_weight=local_weight, local_norm=norm, random_state=0
    ).fit(matrix, {"m": values})
    np.testing.assert_array_equal(estimator.transform(matrix)["m"], estimator.start_.users["m"])


@quick
@given(worlds(), norms, weights, st.integers(1, 200), st.integers(1, 200))
def test_blocks_equal_the_whole(world, norm, local_weight, column_bytes, block_bytes):
    matrix, values = world
    degrees = count_item_degrees(matrix)
    labels, centroids = cluster_rows(values, 2, 0)
    items = ItemSide(
        values,
        labels,
        centroids,
        compute_item_weights(degrees, norm),
        compute_fallback(degrees, labels, centroids),
    )
    whole = aggregate_users(matrix, items, local_weight=local_weight, local_norm=norm)
    blocks = aggregate_users(
        matrix,
        items,
        local_weight=local_weight,
        local_norm=norm,
        n_jobs=2,
        column_bytes=column_bytes,
        block_bytes=block_bytes,
    )
    np.testing.assert_allclose(blocks, whole, rtol=1e-6, atol=1e-12)


@quick
@given(worlds(), st.integers(1, 4), st.integers(0, 100))
def test_the_histogram_is_the_product_with_the_one_hot_labels(world, n_clusters, seed):
    matrix, values = world
    labels = np.random.default_rng(seed).integers(0, n_clusters, len(values))
    expected = matrix.toarray() @ np.eye(n_clusters)[labels]
    np.testing.assert_array_equal(count_clusters(matrix, labels, n_clusters).toarray(), expected)


@quick
@given(worlds(), norms)
def test_the_local_part_is_linear_in_the_features(world, norm):
    matrix, values = world
    projection = np.random.default_rng(1).normal(size=(values.shape[1], 2))
    busy = np.diff(matrix.indptr) > 0
    after = (
        fit(matrix, values, local_norm=norm, local_weight=1.0).users["m"].astype(float) @ projection
    )
    first = fit(matrix, values @ projection, local_norm=norm, local_weight=1.0).users["m"]
    np.testing.assert_allclose(
        first[busy], after[busy], rtol=1e-4, atol=1e-5 * np.abs(values).max()
    )


@quick
@given(worlds())
def test_global_rows_are_convex_combinations_of_centroids(world):
    matrix, values = world
    start = fit(matrix, values, local_weight=0.0)
    centroids = start.clusters["m"].centroids
    room = 1e-5 * np.abs(centroids).max()
    assert (start.users["m"] <= centroids.max(axis=0) + room).all()
    assert (start.users["m"] >= centroids.min(axis=0) - room).all()


def test_many_interactions_are_summed_in_float64():
    rng = np.random.default_rng(0)
    n_items = 100_000
    values = rng.normal(size=(n_items, 2)) + np.array([0, 1000])
    matrix = sp.csr_array(np.ones((1, n_items)))
    found = fit(matrix, values, local_norm="mean", local_weight=1.0).users["m"]
    np.testing.assert_allclose(found[0], values.mean(axis=0), rtol=1e-6, atol=1e-7)
    light = sp.csr_array(sp.vstack([matrix, sp.csr_array(([1.0], ([0], [5])), (1, n_items))]))
    both = fit(light, values, local_norm="mean", local_weight=1.0).users["m"]
    np.testing.assert_array_equal(both[0], found[0])
    np.testing.assert_allclose(both[1], values[5], rtol=1e-6)
