"""Collaborative columns, and the joint table of content and collaborative columns."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.params import Parameters
from sgurinit.core.steps import collaborative
from sgurinit.core.steps import joint as joint_module
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.joint import compute_content_items


def parts_of(matrix: sp.csr_array, n_parts: int = 1) -> list:
    """Users divided among parts, the last of which may have none."""
    bounds = np.linspace(0, matrix.shape[0], n_parts + 1).astype(int)
    return [partial(matrix.__getitem__, slice(*pair)) for pair in pairwise(bounds)]


def collaborative_items(matrix: sp.csr_array, dim: int, n_parts: int = 1, **options) -> np.ndarray:
    degrees = count_item_degrees(matrix)
    return collaborative.compute_collaborative_items(
        parts_of(matrix, n_parts), degrees, dim, **options
    )


def joint_items(matrix, features, dim, **params):
    parameters = Parameters.check(SGURInit(**params).get_params())
    parts, degrees = parts_of(matrix), count_item_degrees(matrix)
    return joint_module.compute_joint_items(parts, degrees, features, dim, parameters)


def reference(dense: np.ndarray, dim: int) -> np.ndarray:
    """Items' inner products, entry by entry and by a full SVD; they have no signs to differ in."""
    n_users, n_items = dense.shape
    scaled = np.zeros(dense.shape)
    for u in range(n_users):
        for i in range(n_items):
            if dense[u, i]:
                scaled[u, i] = 1 / np.sqrt((dense[u].sum() + 1) * (dense[:, i].sum() + 1))
    _, _, rows = np.linalg.svd(scaled)
    vectors = rows[:dim].T * np.sqrt(dense.sum(axis=0) + 1)[:, None]
    vectors[dense.sum(axis=0) == 0] = 0
    return vectors @ vectors.T


@pytest.fixture
def sparse() -> sp.csr_array:
    rng = np.random.default_rng(3)
    dense = rng.random((60, 40)) < rng.random(40) * 0.3
    dense[:, 7] = False
    dense[5] = False
    return sp.csr_array(dense.astype(np.float32))


@pytest.mark.parametrize("dim", [1, 3, 10, 38])
@pytest.mark.parametrize("small", [0, 512], ids=["leading", "all"])
@pytest.mark.parametrize(("n_parts", "n_jobs"), [(1, None), (7, 2)])
def test_inner_products_equal_the_reference(sparse, dim, small, n_parts, n_jobs, monkeypatch):
    monkeypatch.setattr(collaborative, "_SMALL", small)
    items = collaborative_items(sparse, dim, n_parts, n_jobs=n_jobs)
    assert items.dtype == np.float32
    expected = reference(sparse.toarray(), dim)
    found = items.astype(float) @ items.T.astype(float)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert not items[7].any()


def test_few_users_of_many_items_equal_the_reference(sparse, monkeypatch):
    monkeypatch.setattr(collaborative, "_SMALL", 20)
    few = sp.csr_array(sparse[:15])
    expected = reference(few.toarray(), 4)
    found = collaborative_items(few, 4, 3).astype(float)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-5 * np.abs(expected).max())


def test_numbers_do_not_depend_on_the_threads_and_passes_are_reported(sparse, monkeypatch):
    monkeypatch.setattr(collaborative, "_SMALL", 0)
    reported: list[int] = []
    one = collaborative_items(sparse, 5, 6, on_pass=reported.append)
    np.testing.assert_array_equal(collaborative_items(sparse, 5, 6, n_jobs=3), one)
    assert reported == list(range(1, len(reported) + 1))
    assert len(reported) > 1


def test_two_groups_without_a_link_worked_by_hand():
    # Five users of items 0 and 1, three of item 2; item 3 has nobody. In each group the direction
    # is constant: v = 1/sqrt(items), F = sqrt(users + 1) / sqrt(items). The larger singular value
    # is 5 users x 2 items over sqrt(6 * 3), then 3 over sqrt(4 * 2).
    dense = np.zeros((8, 4))
    dense[:5, :2] = 1
    dense[5:, 2] = 1
    items = collaborative_items(sp.csr_array(dense), 6)
    expected = np.zeros((4, 6))
    expected[:2, 0] = np.sqrt(6) / np.sqrt(2)
    expected[2, 1] = np.sqrt(4)
    np.testing.assert_allclose(items, expected, atol=1e-6)


def test_users_may_come_in_any_order_and_items_keep_their_vectors(sparse):
    rng = np.random.default_rng(0)
    users, items = rng.permutation(60), rng.permutation(40)
    plain = collaborative_items(sparse, 5)
    np.testing.assert_allclose(collaborative_items(sparse[users], 5), plain, atol=1e-5)
    np.testing.assert_allclose(collaborative_items(sparse[:, items], 5), plain[items], atol=1e-5)


def test_wider_than_the_rank_is_zero_beyond():
    items = collaborative_items(sp.csr_array(np.ones((4, 3))), 5)
    assert items[:, 0].all()
    assert not items[:, 1:].any()


def test_carried_users_score_other_items_as_the_joint_space_does(gappy):
    start = (
        SGURInit(n_clusters=3, collaborative=0.5, random_state=0)
        .fit(gappy.matrix, gappy.features)
        .start_
    )
    joint = start.joint(8)
    rng = np.random.default_rng(0)
    items = rng.normal(size=(start.n_items, 5))
    found = start.carry_to(items, width=8)
    # Each user's ridge regression by itself, over stacked rows.
    penalty = np.sqrt(0.1 * np.square(items).sum() / 5)
    design = np.vstack([items, penalty * np.eye(5)])
    for user in range(start.n_users):
        target = np.concatenate([joint.items @ joint.users[user], np.zeros(5)])
        expected, *_ = np.linalg.lstsq(design, target, rcond=None)
        np.testing.assert_allclose(found[user], expected, rtol=1e-4, atol=1e-6)
    # A space that holds the joint one, turned, holds the users too but for the ridge.
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    scores = start.carry_to(joint.items @ turn, width=8) @ (joint.items @ turn).T
    assert np.corrcoef(scores.ravel(), (joint.users @ joint.items.T).ravel())[0, 1] > 0.95
    assert not start.carry_to(np.zeros((start.n_items, 5)), width=8).any()


def test_what_cannot_be_carried_is_refused(gappy, tmp_path):
    estimator = SGURInit(n_clusters=3, collaborative=0.5, joint_dim=6, random_state=0)
    start = estimator.fit(gappy.matrix, gappy.features).start_
    with pytest.raises(ValueError, match=r"shape \(3, 5\), expected 40 rows of finite"):
        start.carry_to(np.ones((3, 5)))
    start.save(tmp_path / "s.safetensors")
    loaded = UserStart.load(tmp_path / "s.safetensors")
    items = np.random.default_rng(0).normal(size=(start.n_items, 4))
    # Both use the width that was fitted, whatever width is offered.
    for width in (None, 6, 64):
        np.testing.assert_allclose(
            loaded.carry_to(items, width=width), start.carry_to(items), rtol=1e-6
        )
    estimator.set_params(joint_dim=None).fit(gappy.matrix, gappy.features)
    estimator.start_.save(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"no joint space of width 4 \(saved: None\): fit"):
        UserStart.load(tmp_path / "none.safetensors").carry_to(items)
    with pytest.raises(ValueError, match="a loaded start has no features"):
        loaded.features("m0")
    with pytest.raises(ValueError, match="no modality 'sound'; it has "):
        loaded.features("sound")


def test_joint_columns_are_split_as_asked_and_scaled_alike(gappy):
    plain, present = compute_content_items(gappy.features, 8)
    same, there = joint_items(gappy.matrix, gappy.features, 8, collaborative=0)
    np.testing.assert_array_equal(same, plain)
    np.testing.assert_array_equal(there, present)
    items, anywhere = joint_items(gappy.matrix, gappy.features, 8, collaborative=0.25)
    first, second = items[:, :2], items[:, 2:]
    raw = collaborative_items(gappy.matrix, 2)
    ratio = np.linalg.norm(raw[raw.any(axis=1)], axis=1).mean()
    np.testing.assert_allclose(first * ratio, raw, rtol=1e-5)
    content, featured = compute_content_items(gappy.features, 6)
    np.testing.assert_allclose(
        second * np.linalg.norm(content[featured], axis=1).mean(), content, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_array_equal(anywhere, featured | raw.any(axis=1))
    alone, _ = joint_items(gappy.matrix, gappy.features, 8, collaborative=1)
    np.testing.assert_allclose(
        alone
        * np.linalg.norm(alone_raw := collaborative_items(gappy.matrix, 8), axis=1)[
            alone_raw.any(axis=1)
        ].mean(),
        alone_raw,
        rtol=1e-5,
        atol=1e-7,
    )


def test_a_rank_limits_the_collaborative_columns_and_content_takes_the_rest(gappy):
    three, _ = joint_items(gappy.matrix, gappy.features, 8, collaborative=0.5, collaborative_rank=3)
    share, _ = joint_items(gappy.matrix, gappy.features, 8, collaborative=3 / 8)
    np.testing.assert_array_equal(three, share)
    more, _ = joint_items(gappy.matrix, gappy.features, 8, collaborative=0.5, collaborative_rank=9)
    half, _ = joint_items(gappy.matrix, gappy.features, 8, collaborative=0.5)
    np.testing.assert_array_equal(more, half)
    # Without content the other columns stay empty.
    alone, _ = joint_items(gappy.matrix, gappy.features, 8, collaborative=3 / 8, content=False)
    np.testing.assert_array_equal(alone[:, :3], three[:, :3])
    assert not alone[:, 3:].any()


def test_equal_features_matter_only_where_content_is_asked_for(sparse):
    features = {"x": ItemFeatures(np.ones((40, 3)))}
    items, _ = joint_items(sparse, features, 4, collaborative=1)
    assert items.any()
    with pytest.raises(ValueError, match="all items have the same features"):
        joint_items(sparse, features, 4, collaborative=0.5)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_start_keeps_it_on_disk_and_for_new_users(gappy, share, tmp_path):
    estimator = SGURInit(n_clusters=3, collaborative=share, joint_dim=6, random_state=0)
    start = estimator.fit(gappy.matrix, gappy.features).start_
    start.save(tmp_path / "s.safetensors")
    loaded = UserStart.load(tmp_path / "s.safetensors")
    assert loaded.config["collaborative"] == share
    np.testing.assert_array_equal(loaded.joint(6).users, start.joint(6).users)
    np.testing.assert_array_equal(loaded.joint(6).clusters.labels, start.joint(6).clusters.labels)
    again = estimator.transform(gappy.matrix)["joint"]
    np.testing.assert_array_equal(again, start.joint(6).users)
