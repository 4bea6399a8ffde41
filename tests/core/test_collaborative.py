"""The collaborative joint space: from interactions and features to items, users and files."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.diagnostics import Diagnostics
from sgurinit.core.params import Parameters
from sgurinit.core.steps import held_out
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.joint import JointItems, compute_content_items, compute_joint_items
from sgurinit.data import load_dataset, planted, xwines
from sgurinit.errors import InputError

FIXED = {"penalty": 10.0, "content_weight": 0.3}


def joint_items(matrix, features, dim, *, n_jobs=None, parts=None, **params) -> JointItems:
    options = {"collaborative": True} | params
    parameters = Parameters.check(SGURInit(random_state=0, **options).get_params())
    parts = [lambda: matrix] if parts is None else parts
    degrees = count_item_degrees(matrix)
    return compute_joint_items(parts, degrees, features, dim, parameters, n_jobs=n_jobs)


def fit(case, **params) -> SGURInit:
    options = {"n_clusters": 3, "collaborative": True, "random_state": 0} | params
    return SGURInit(**options).fit(case.matrix, case.features)


class TestItems:
    @pytest.mark.parametrize("weight", [0.0, 0.1, 3.0])
    def test_they_equal_the_dense_reference(self, weight, gappy, reference):
        found = joint_items(
            gappy.matrix,
            gappy.features,
            7,
            penalty=3.0,
            content_weight=weight,
            collaborative_rank=40,
        )
        rows, present = reference.joint(gappy, 7, 3.0, weight)
        assert found.rows.dtype == np.float32
        assert found.rows.shape == (40, 7)
        assert found.settings == (3.0, weight)
        np.testing.assert_array_equal(found.present, present)
        products = found.rows.astype(float) @ found.rows.T.astype(float)
        expected = rows @ rows.T
        np.testing.assert_allclose(products, expected, atol=1e-5 * np.abs(expected).max())
        assert not found.rows[~present].any()
        lengths = np.linalg.norm(found.rows[present], axis=1)
        assert lengths.mean() == pytest.approx(1, rel=1e-5)

    def test_without_it_they_are_the_content(self, gappy):
        found = joint_items(gappy.matrix, gappy.features, 8, collaborative=False)
        items, present = compute_content_items(gappy.features, 8)
        np.testing.assert_array_equal(found.rows, items)
        np.testing.assert_array_equal(found.present, present)
        assert found.settings is None

    def test_four_directions_per_column_unless_said(self, small):
        default = joint_items(small.matrix, small.features, 4, **FIXED)
        sixteen = joint_items(small.matrix, small.features, 4, collaborative_rank=16, **FIXED)
        np.testing.assert_array_equal(default.rows, sixteen.rows)
        few = joint_items(small.matrix, small.features, 4, collaborative_rank=5, **FIXED)
        assert not np.allclose(few.rows, default.rows, atol=1e-3)

    def test_the_modality_that_agrees_with_the_users_counts(self):
        # Items of a group are alike in "good"; "noise" is random, so it hardly counts.
        case, _ = make_groups()
        good = case["features"]["good"]
        noise = ItemFeatures(np.random.default_rng(3).normal(size=(good.n_items, 4)))
        alone = joint_items(case["matrix"], {"good": good}, 6, **FIXED)
        both = joint_items(case["matrix"], {"good": good, "noise": noise}, 6, **FIXED)
        only_noise = joint_items(case["matrix"], {"noise": noise}, 6, **FIXED)
        wanted = alone.rows @ alone.rows.T
        near, far = (np.linalg.norm(f.rows @ f.rows.T - wanted) for f in (both, only_noise))
        assert near < 0.5 * far

    @pytest.mark.slow
    def test_parts_threads_and_order_do_not_matter(self):
        # More items than directions, and settings that are chosen.
        data = planted(300, 120, seed=4)
        matrix, features = sp.csr_array(data.train_matrix().astype(float)), dict(data.features)
        one = joint_items(matrix, features, 6)
        two = joint_items(matrix, features, 6, n_jobs=2)
        np.testing.assert_array_equal(two.rows, one.rows)
        products = one.rows @ one.rows.T
        close = {"atol": 1e-4 * products.max()}
        bounds = [0, 100, 100, 299, 300]
        parts = [lambda pair=pair: sp.csr_array(matrix[slice(*pair)]) for pair in pairwise(bounds)]
        found = joint_items(matrix, features, 6, parts=parts)
        assert found.settings == one.settings
        np.testing.assert_allclose(found.rows @ found.rows.T, products, **close)
        several = joint_items(matrix, features, 6, parts=parts, n_jobs=2)
        np.testing.assert_array_equal(several.rows, found.rows)
        rng = np.random.default_rng(0)
        users, items = rng.permutation(300), rng.permutation(120)
        turned = {
            name: ItemFeatures(table.values[items], table.mask()[items])
            for name, table in features.items()
        }
        other = joint_items(sp.csr_array(matrix[users][:, items]), turned, 6)
        assert other.settings == one.settings
        np.testing.assert_array_equal(other.present, one.present[items])
        np.testing.assert_allclose(other.rows @ other.rows.T, products[items][:, items], **close)


class TestEdges:
    def test_equal_features_matter_only_where_content_is_asked_for(self, small):
        features = {"x": ItemFeatures(np.ones((40, 3)))}
        assert joint_items(small.matrix, features, 4, content_weight=0).rows.any()
        with pytest.raises(InputError, match="all items have the same features"):
            joint_items(small.matrix, features, 4)

    @pytest.mark.parametrize("dense", [np.ones((3, 1)), np.eye(5)], ids=["one item", "one each"])
    def test_items_that_nothing_connects_are_an_error(self, dense):
        features = {"x": ItemFeatures(np.random.default_rng(0).normal(size=(dense.shape[1], 2)))}
        with pytest.raises(InputError, match="found no items that go together"):
            joint_items(sp.csr_array(dense), features, 4, content_weight=0)

    @pytest.mark.parametrize("dim", [1, 5, 300])
    @pytest.mark.parametrize(
        "dense",
        [
            np.ones((1, 2)),
            np.ones((20, 12)),
            np.hstack([np.eye(6), np.eye(6)]),
            np.pad(np.ones((4, 3)), ((0, 3), (0, 4))),
            np.outer(np.arange(50) < 49, np.arange(30) % 3 == 0).astype(float),
        ],
        ids=["one user", "all of all", "items twice", "cold and idle", "all the same"],
    )
    def test_any_data_give_finite_rows_without_a_warning(self, dense, dim):
        values = np.random.default_rng(0).normal(size=(dense.shape[1], 3))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = joint_items(sp.csr_array(dense), {"x": ItemFeatures(values)}, dim)
        assert found.rows.shape == (dense.shape[1], dim)
        assert np.isfinite(found.rows).all()
        assert found.rows.any()

    @pytest.mark.parametrize("penalty", [1e-10, 1e10])
    def test_any_penalty_gives_finite_rows(self, penalty, small):
        assert np.isfinite(joint_items(small.matrix, small.features, 5, penalty=penalty).rows).all()

    def test_content_of_few_items_is_used_for_them(self, small):
        present = np.arange(40) >= 34  # the last three have no interactions
        values = np.random.default_rng(0).normal(size=(40, 4))
        found = joint_items(small.matrix, {"x": ItemFeatures(values, present)}, 5, **FIXED)
        used = count_item_degrees(small.matrix) > 0
        assert found.present[used].all()
        assert not found.present[~used & ~present].any()
        assert found.present[~used].any()


def make_groups(n_users=240, n_items=60, n_groups=6, seed=0):
    """Users of groups of items; the last item of every group has no interactions."""
    rng = np.random.default_rng(seed)
    of_users, of_items = np.arange(n_users) % n_groups, np.arange(n_items) % n_groups
    share = np.where(of_users[:, None] == of_items, 0.4, 0.03)
    dense = rng.random(share.shape) < share
    cold = np.arange(n_items - n_groups, n_items)
    dense[:, cold] = False
    values = rng.normal(size=(n_groups, 8))[of_items] + rng.normal(scale=0.4, size=(n_items, 8))
    case = {"matrix": sp.csr_array(dense.astype(float)), "features": {"good": ItemFeatures(values)}}
    return case, (of_users, of_items, cold)


class TestColdItems:
    @pytest.mark.parametrize("weight", [None, 0.001, 3.0])
    def test_content_places_them_near_the_right_users(self, weight):
        case, (of_users, of_items, cold) = make_groups()
        start = SGURInit.from_preset("hybrid", n_clusters=6, content_weight=weight, random_state=0)
        joint = start.fit(case["matrix"], case["features"]).start_.joint(8)
        scores = joint.users @ joint.items.T
        ranks = scores.argsort(axis=1).argsort(axis=1) / (scores.shape[1] - 1)  # 1 is the best
        right = of_users[:, None] == of_items[cold]
        # Among all items: ten belong to the group of a user, so a perfect rank is at least 0.85.
        assert ranks[:, cold][right].mean() > 0.8
        assert ranks[:, cold][~right].mean() < 0.55

    def test_without_content_they_have_no_row(self):
        case, (_, _, cold) = make_groups()
        estimator = SGURInit.from_preset("hybrid", content_weight=0, joint_dim=8, random_state=0)
        start = estimator.fit(case["matrix"], case["features"]).start_
        assert not start.joint(8).items[cold].any()
        assert (start.joint(8).clusters.labels[cold] == -1).all()
        assert start.diagnostics.joint.items_without_features == len(cold)


class TestStarts:
    def test_given_settings_are_in_the_diagnostics_of_every_form(self, gappy, tmp_path):
        start = fit(gappy, joint_dim=6, **FIXED).start_
        start.save(tmp_path / "s.safetensors")
        loaded = UserStart.load(tmp_path / "s.safetensors")
        for facts in (start.diagnostics, loaded.diagnostics):
            assert (facts.penalty, facts.content_weight) == (10.0, 0.3)
        assert Diagnostics.from_dict(start.diagnostics.to_dict()) == start.diagnostics
        assert loaded.config["collaborative"] is True
        assert (loaded.config["penalty"], loaded.config["content_weight"]) == (10.0, 0.3)
        np.testing.assert_array_equal(loaded.joint(6).users, start.joint(6).users)
        np.testing.assert_array_equal(
            loaded.joint(6).clusters.labels, start.joint(6).clusters.labels
        )

    def test_chosen_settings_are_in_the_diagnostics_but_not_in_the_config(self, tmp_path):
        data = planted(300, 120, seed=0)
        estimator = SGURInit(n_clusters=3, collaborative=True, random_state=0, joint_dim=6)
        start = estimator.fit(data).start_
        start.save(tmp_path / "s.safetensors")
        facts = UserStart.load(tmp_path / "s.safetensors").diagnostics
        assert facts.penalty in held_out.PENALTIES
        assert facts.content_weight in held_out.CONTENT_WEIGHTS[1:]
        assert start.config["penalty"] is start.config["content_weight"] is None
        # Giving what was chosen changes nothing.
        estimator.set_params(penalty=facts.penalty, content_weight=facts.content_weight)
        again = estimator.fit(data).start_
        np.testing.assert_array_equal(again.joint(6).users, start.joint(6).users)

    def test_a_joint_space_of_content_has_no_settings(self, gappy):
        facts = fit(gappy, collaborative=False, joint_dim=6).start_.diagnostics
        assert facts.penalty is facts.content_weight is None

    def test_new_users_are_computed_as_those_of_the_fit(self, gappy):
        estimator = fit(gappy, joint_dim=6, **FIXED)
        again = estimator.transform(gappy.matrix)["joint"]
        np.testing.assert_array_equal(again, estimator.start_.joint(6).users)

    def test_carried_users_score_other_items_as_the_joint_space_does(self, gappy):
        start = fit(gappy, **FIXED).start_
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

    def test_what_cannot_be_carried_is_refused(self, gappy, tmp_path):
        estimator = fit(gappy, joint_dim=6, **FIXED)
        start = estimator.start_
        with pytest.raises(InputError, match="has 3 rows, expected 40: one per item"):
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
        with pytest.raises(InputError, match=r"no joint space of width 4 \(saved: None\): fit"):
            UserStart.load(tmp_path / "none.safetensors").carry_to(items)
        with pytest.raises(InputError, match="a loaded start has no features"):
            loaded.features("m0")
        with pytest.raises(InputError, match="no modality 'sound'; it has "):
            loaded.features("sound")


def measure(data, dim: int, shuffle: bool = False, **params) -> float:
    """NDCG@20 on validation, of users who have something there, without any training."""
    features = dict(data.features)
    if shuffle:
        order = np.random.default_rng(0).permutation(data.n_items)
        features = {
            name: ItemFeatures(table.values[order], table.mask()[order])
            for name, table in features.items()
        }
    matrix = sp.csr_array(data.train_matrix())
    estimator = SGURInit(random_state=0, local_weight=0.9, **params)
    joint = estimator.fit(matrix, features).start_.joint(dim)
    scores = joint.users @ joint.items.T
    scores[matrix.nonzero()] = -np.inf
    wanted = data.valid.matrix(data.n_users, data.n_items).toarray() > 0
    gains = 1 / np.log2(np.arange(2, 22))
    found = []
    for user in np.flatnonzero(wanted.any(axis=1)):
        best = np.argsort(-scores[user], kind="stable")[:20]
        found.append(wanted[user, best] @ gains / gains[: wanted[user].sum()].sum())
    return float(np.mean(found))


@pytest.mark.slow
def test_informative_content_helps_and_shuffled_content_does_little_harm():
    data = planted(600, 300, seed=1)
    without = measure(data, 16, collaborative=True, content_weight=0.0)
    assert measure(data, 16, collaborative=True) > 1.08 * without
    assert measure(data, 16, shuffle=True, collaborative=True) > 0.95 * without
    assert without > 1.3 * measure(data, 16)


@pytest.mark.slow
def test_wines_are_found_by_users_and_not_harmed_by_content():
    data = xwines()
    without = measure(data, 32, collaborative=True, content_weight=0.0)
    assert measure(data, 32, collaborative=True) > 0.98 * without
    assert without > 2 * measure(data, 32)


@pytest.mark.slow
def test_music_is_found_better_with_content(data_root):
    path = data_root / "lastfm"
    if not path.is_dir():
        pytest.skip(f"no real data in {path}; set SGURINIT_DATA to the folder that holds them")
    data = load_dataset(path)
    without = measure(data, 64, collaborative=True, content_weight=0.0)
    assert measure(data, 64, collaborative=True) > 1.015 * without
    assert without > 1.5 * measure(data, 64)
