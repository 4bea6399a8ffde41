"""SGURInit as a scikit-learn estimator: parameters, policies, determinism, transform."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sgurinit.core import ItemFeatures, SGURInit
from sgurinit.core.inputs.features import BFLOAT16
from sgurinit.core.params import COLLABORATIVE_SETTINGS, PARAMS, PRESETS
from sgurinit.errors import InputError


def fit(case, **params):
    params = {"n_clusters": 4, "random_state": 0} | params
    return SGURInit(**params).fit(case.matrix, case.features)


class TestScikitLearnConduct:
    def test_parameters_are_kept_as_given_and_unchecked(self):
        steps = ["nonsense"]
        estimator = SGURInit(n_clusters=-1, preprocess=steps)
        assert estimator.n_clusters == -1
        assert estimator.preprocess is steps

    def test_clone_get_params_and_set_params(self, small):
        estimator = fit(small, local_weight=0.3, preprocess=("unit",))
        copy = clone(estimator)
        assert copy.get_params() == estimator.get_params()
        assert not hasattr(copy, "start_")
        assert copy.set_params(local_weight=0.7).local_weight == 0.7

    def test_repr_names_changed_parameters_only(self):
        assert repr(SGURInit(n_clusters=4)) == "SGURInit(n_clusters=4)"

    def test_fit_returns_itself_and_sets_underscored_attributes(self, small):
        estimator = SGURInit(n_clusters=4, random_state=0)
        before = dict(vars(estimator))
        assert estimator.fit(small.matrix, small.features) is estimator
        assert estimator.get_params() == before
        new = {name for name in vars(estimator) if name not in before}
        assert {name for name in new if not name.startswith("_")} == {
            "start_",
            "n_users_in_",
            "n_items_in_",
        }
        assert (estimator.n_users_in_, estimator.n_items_in_) == small.matrix.shape

    def test_transform_before_fit_is_an_error(self, small):
        with pytest.raises(NotFittedError):
            SGURInit().transform(small.matrix)

    def test_second_fit_forgets_the_first(self, small, gappy):
        estimator = fit(small)
        first = {name: users.copy() for name, users in estimator.start_.users.items()}
        estimator.fit(gappy.matrix, gappy.features)
        again = estimator.fit(small.matrix, small.features).start_
        for name, users in first.items():
            np.testing.assert_array_equal(again.users[name], users)

    def test_inputs_are_left_as_they_were(self, made):
        case = made()
        case.matrix.data[:] = 3.0
        copies = {name: table.values.copy() for name, table in case.features.items()}
        fit(case, preprocess=("center", "unit"), joint_dim=4)
        assert (case.matrix.data == 3.0).all()
        for name, table in case.features.items():
            np.testing.assert_array_equal(table.values, copies[name])


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_clusters", 0),
            ("n_clusters", 2.5),
            ("n_clusters", True),
            ("local_weight", -0.1),
            ("local_weight", 1.1),
            ("local_weight", float("nan")),
            ("local_weight", "half"),
            ("local_norm", "row"),
            ("local_norm", None),
            ("preprocess", "center"),
            ("preprocess", ("center", "scale")),
            ("preprocess", None),
            ("collaborative", 0.5),
            ("collaborative", 1),
            ("collaborative", None),
            ("content_weight", -0.1),
            ("content_weight", float("nan")),
            ("content_weight", float("inf")),
            ("content_weight", True),
            ("content_weight", "all"),
            ("penalty", 0),
            ("penalty", -1.0),
            ("penalty", float("nan")),
            ("penalty", float("inf")),
            ("penalty", "low"),
            ("collaborative_rank", 0),
            ("collaborative_rank", 4.0),
            ("collaborative_rank", True),
            ("joint_dim", 0),
            ("joint_dim", 10**30),
            ("local_norm", np.array(["mean", "sym"])),
            ("kmeans", ["lloyd"]),
            ("joint_dim", 4.0),
            ("random_state", -1),
            ("random_state", "seed"),
        ],
    )
    def test_bad_value_is_named_at_fit(self, name, value, small):
        with pytest.raises(InputError, match=name):
            fit(small, **{name: value})

    def test_presets_differ_from_the_defaults_in_what_they_say(self):
        own = SGURInit().get_params()
        for name, fields in PRESETS.items():
            found = SGURInit.from_preset(name).get_params()
            assert {k: v for k, v in found.items() if own[k] != v} == {
                k: v for k, v in fields.items() if own[k] != v
            }

    def test_the_docstring_has_the_table_of_parameters(self):
        text = " ".join(SGURInit.__doc__.split())
        for name, param in PARAMS.items():
            entry = f"{name} : {param.values}, default {param.default!r} {param.text}"
            assert " ".join(entry.split()).replace("'", '"') in text.replace("'", '"'), name

    def test_parameters_are_keywords(self):
        with pytest.raises(TypeError):
            SGURInit(8)

    @pytest.mark.parametrize("name", COLLABORATIVE_SETTINGS)
    def test_a_setting_of_a_space_that_is_not_collaborative_is_refused(self, name, small):
        with pytest.raises(InputError, match=f"{name}=4 has no effect with collaborative=False"):
            fit(small, **{name: 4})
        fit(small, collaborative=True, joint_dim=3, **{name: 4})

    def test_settings_may_be_at_their_limits(self, small):
        found = fit(small, collaborative=True, content_weight=0, penalty=1e-3, collaborative_rank=1)
        config = found.start_.config
        assert (config["content_weight"], config["penalty"]) == (0.0, 1e-3)

    def test_preset_takes_overrides(self):
        estimator = SGURInit.from_preset(local_weight=0.5, random_state=3)
        assert (estimator.local_weight, estimator.random_state, estimator.n_clusters) == (0.5, 3, 8)

    def test_unknown_preset_is_an_error_that_lists_the_names(self):
        with pytest.raises(InputError, match="hybrid, published, stair"):
            SGURInit.from_preset("best")

    def test_config_holds_what_was_used(self, small):
        config = fit(small, local_weight=1, preprocess=["unit"], random_state=7).start_.config
        assert config == {
            "n_clusters": 4,
            "local_weight": 1.0,
            "local_norm": "mean",
            "preprocess": ["unit"],
            "collaborative": False,
            "collaborative_rank": None,
            "content_weight": None,
            "penalty": None,
            "joint_dim": None,
            "kmeans": "lloyd",
            "seed": 7,
        }


class TestDeterminism:
    def test_same_seed_same_start(self, small):
        one, two = fit(small, joint_dim=5).start_, fit(small, joint_dim=5).start_
        for name, users in one.users.items():
            np.testing.assert_array_equal(two.users[name], users)
        np.testing.assert_array_equal(one.joint(5).items, two.joint(5).items)

    def test_random_state_object_is_drawn_from_once(self, small):
        start = fit(small, random_state=np.random.RandomState(5)).start_
        again = fit(small, random_state=start.config["seed"]).start_
        np.testing.assert_array_equal(start.users["m0"], again.users["m0"])

    def test_modalities_do_not_influence_each_other(self, small):
        alone = SGURInit(n_clusters=4, random_state=0).fit(
            small.matrix, {"m1": small.features["m1"]}
        )
        np.testing.assert_array_equal(alone.start_.users["m1"], fit(small).start_.users["m1"])

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_any_number_of_modalities(self, count, made):
        case = made(widths=(3, 5, 8)[:count])
        start = fit(case, joint_dim=3).start_
        assert list(start.users) == list(case.features)
        assert [users.shape[1] for users in start.users.values()] == [3, 5, 8][:count]
        assert start.joint(3).users.shape == (start.n_users, 3)


class TestPrecisionAndLayout:
    @pytest.mark.slow
    @pytest.mark.parametrize("options", [{}, {"preprocess": ("center", "unit")}, {"joint_dim": 5}])
    @pytest.mark.parametrize("dtype", ["float16", BFLOAT16, "float32", "float64"], ids=str)
    @pytest.mark.parametrize("layout", ["C", "F", "strided", "memmap", "big-endian"])
    def test_the_same_values_give_the_same_start(self, dtype, layout, options, small, tmp_path):
        half = {  # values that every type holds
            name: t.values.astype(BFLOAT16).astype(np.float16) for name, t in small.features.items()
        }
        expected = SGURInit(n_clusters=4, random_state=0, **options).fit(small.matrix, half).start_
        stored = {
            name: lay_out(values.astype(dtype), layout, tmp_path / f"{name}.npy")
            for name, values in half.items()
        }
        found = SGURInit(n_clusters=4, random_state=0, **options).fit(small.matrix, stored).start_
        for name, users in expected.users.items():
            np.testing.assert_allclose(found.users[name], users, rtol=1e-6, atol=1e-6)
            np.testing.assert_array_equal(
                found.clusters[name].labels, expected.clusters[name].labels
            )

    def test_half_precision_sums_do_not_overflow(self):
        # The sum of 200 rows of 500 is 100,000, beyond the largest float16 (65,504).
        interactions = sp.csr_array(np.ones((1, 200)))
        features = {"image": np.full((200, 2), 500, dtype=np.float16)}
        for local_weight in (0.0, 1.0):
            estimator = SGURInit(n_clusters=1, local_weight=local_weight, random_state=0).fit(
                interactions, features
            )
            np.testing.assert_array_equal(estimator.start_.users["image"], [[500, 500]])

    def test_precision_survives_a_large_common_mean(self):
        rng = np.random.default_rng(0)
        near = rng.normal(size=(60, 3)) + np.repeat([[0, 0, 0], [20, 0, 0]], 30, axis=0)
        start = (
            SGURInit(n_clusters=2, random_state=0)
            .fit(sp.eye_array(60).tocsr(), {"x": near + 1e7})
            .start_
        )
        labels = start.clusters["x"].labels
        assert len(set(labels[:30])) == len(set(labels[30:])) == 1
        assert labels[0] != labels[30]


def lay_out(values, layout, path):
    if layout == "C":
        return np.ascontiguousarray(values)
    if layout == "F":
        return np.asfortranarray(values)
    if layout == "strided":
        return np.repeat(values, 2, axis=0)[::2]
    if layout == "big-endian":
        if values.dtype == BFLOAT16:
            pytest.skip("bfloat16 has one byte order")
        return values.astype(values.dtype.newbyteorder(">"))
    np.save(path, values)
    return np.load(path, mmap_mode="r")


class TestPolicies:
    def test_users_without_interactions_get_the_popular_centroid(self, small):
        for local_weight in (0.0, 0.4, 1.0):
            start = fit(small, local_weight=local_weight).start_
            degrees = np.bincount(small.matrix.indices, minlength=small.matrix.shape[1])
            for name, clusters in start.clusters.items():
                weights = np.bincount(clusters.labels, weights=degrees)
                expected = np.average(clusters.centroids, axis=0, weights=weights)
                np.testing.assert_allclose(start.users[name][0], expected, rtol=1e-5)
        assert start.diagnostics.users_without_interactions == 2

    def test_users_of_unfeatured_items_only_get_it_too(self, gappy):
        start = fit(gappy).start_
        facts = start.diagnostics.modalities["m0"]
        present = gappy.features["m0"].present
        featured = (gappy.matrix @ present.astype(float)) > 0
        active = np.diff(gappy.matrix.indptr) > 0
        assert facts.users_without_featured_items == int((active & ~featured).sum()) >= 1
        np.testing.assert_array_equal(start.users["m0"][2], start.users["m0"][0])
        assert facts.items_without_features == int((~present).sum())
        assert (start.clusters["m0"].labels[~present] == -1).all()

    def test_rows_of_items_without_features_are_never_used(self, gappy):
        expected = fit(gappy, joint_dim=4).start_
        other = {}
        for name, table in gappy.features.items():
            values = table.values.copy()
            values[~table.present] = 1e30
            other[name] = ItemFeatures(values, table.present)
        found = SGURInit(n_clusters=4, random_state=0, joint_dim=4).fit(gappy.matrix, other).start_
        for name, users in expected.users.items():
            np.testing.assert_array_equal(found.users[name], users)
        np.testing.assert_array_equal(found.joint(4).users, expected.joint(4).users)

    def test_duplicates_count_once_and_are_reported(self, small):
        coo = small.matrix.tocoo()
        twice = np.concatenate([coo.coords, coo.coords], axis=1).T
        found = SGURInit(n_clusters=4, random_state=0).fit(
            sp.coo_array((np.ones(len(twice)), twice.T), shape=coo.shape), small.features
        )
        assert found.start_.diagnostics.duplicate_interactions == small.matrix.nnz
        assert found.start_.diagnostics.n_interactions == small.matrix.nnz
        np.testing.assert_array_equal(found.start_.users["m0"], fit(small).start_.users["m0"])

    def test_zero_and_constant_rows_are_counted_and_zero_stays_zero(self, made):
        case = made(widths=(4,))
        values = case.features["m0"].values.copy()
        values[3:5], values[6] = 0.0, 2.5
        estimator = SGURInit(n_clusters=3, random_state=0, preprocess=("center", "unit"))
        start = estimator.fit(case.matrix, {"m0": values})
        facts = start.start_.diagnostics.modalities["m0"]
        assert (facts.zero_rows, facts.constant_rows) == (2, 1)
        assert not start.start_.joint(3).items[3:5].astype(np.float16).any()

    def test_items_without_interactions_are_reported(self, small):
        assert fit(small).start_.diagnostics.items_without_interactions >= 3

    def test_more_clusters_than_distinct_rows_is_an_error_with_both_numbers(self):
        values = np.repeat([[1.0, 2], [3, 4], [0.0, -0.0], [-0.0, 0.0]], 5, axis=0)
        interactions = sp.eye_array(20).tocsr()
        with pytest.raises(InputError, match=r"'text'.*n_clusters=4.*3 distinct"):
            SGURInit(n_clusters=4, random_state=0).fit(interactions, {"text": values})
        start = SGURInit(n_clusters=3, random_state=0).fit(interactions, {"text": values}).start_
        assert start.diagnostics.modalities["text"].cluster_sizes.count(5) == 2

    def test_no_interactions_is_an_error(self, small):
        with pytest.raises(InputError, match="no training interactions"):
            SGURInit().fit(sp.csr_array(small.matrix.shape), small.features)

    def test_interactions_on_unfeatured_items_only_is_an_error_naming_the_modality(self):
        values = np.eye(3)
        table = ItemFeatures(values, np.array([False, True, True]))
        with pytest.raises(InputError, match=r"'audio'.*feature row"):
            SGURInit(n_clusters=1).fit(np.array([[0, 0]]), {"audio": table})


class TestTransform:
    def test_training_interactions_give_the_rows_of_the_fit(self, gappy):
        estimator = fit(gappy, preprocess=("whiten",), joint_dim=4)
        found = estimator.transform(gappy.matrix)
        for name, users in estimator.start_.users.items():
            np.testing.assert_array_equal(found[name], users)
        np.testing.assert_array_equal(found["joint"], estimator.start_.joint(4).users)

    def test_new_users_use_the_item_degrees_of_the_fit(self, small):
        estimator = fit(small, local_weight=1.0, local_norm="sym")
        degrees = np.bincount(small.matrix.indices, minlength=small.matrix.shape[1])
        items = np.flatnonzero(degrees)[:3]
        found = estimator.transform(np.array([[0, item] for item in items]))["m0"]
        rows = small.features["m0"].values[items]
        expected = (rows / np.sqrt(3 * degrees[items])[:, None]).sum(axis=0)
        np.testing.assert_allclose(found[0], expected, rtol=1e-6)

    def test_an_item_new_to_training_counts_as_used_once(self, small):
        unused = small.matrix.shape[1] - 1
        found = fit(small, local_weight=1.0).transform(np.array([[0, unused]]))["m0"]
        np.testing.assert_allclose(found[0], small.features["m0"].values[unused], rtol=1e-6)

    def test_new_users_without_interactions_get_the_popular_centroid(self, small):
        estimator = fit(small)
        empty = sp.csr_array((2, small.matrix.shape[1]))
        found = estimator.transform(empty)["m0"]
        np.testing.assert_array_equal(found, estimator.start_.users["m0"][[0, 0]])

    def test_other_items_are_an_error(self, small):
        with pytest.raises(InputError, match="expected"):
            fit(small).transform(sp.csr_array((2, 5)))


class TestOtherItemTables:
    def test_wrong_number_of_rows_is_an_error(self, small):
        with pytest.raises(InputError, match="7 rows, expected 40"):
            fit(small).start_.on(np.ones((7, 2)))

    def test_columns_beyond_the_directions_of_the_features_are_zero(self, small):
        start = fit(small).start_
        wide, narrow = start.joint(20), start.joint(15)
        for one, two in ((wide.users, narrow.users), (wide.items, narrow.items)):
            np.testing.assert_allclose(one[:, :15], two, rtol=1e-5, atol=1e-6)
            assert one[:, :15].any(axis=0).all()
            assert not one[:, 15:].any()

    def test_low_rank_features_do_not_count_their_columns(self, small):
        line = np.outer(np.arange(40.0), np.ones(6))
        estimator = SGURInit(n_clusters=2, random_state=0)
        start = estimator.fit(small.matrix, {"line": line}).start_
        assert start.joint(2).items.any(axis=0).tolist() == [True, False]

    def test_features_without_any_direction_are_an_error(self, small):
        same = np.ones((40, 3))
        start = SGURInit(n_clusters=1, random_state=0).fit(small.matrix, {"same": same}).start_
        with pytest.raises(InputError, match="same features"):
            start.joint(2)

    @pytest.mark.parametrize("dim", [0, -1, 2.0, True])
    def test_width_must_be_a_positive_integer(self, dim, small):
        with pytest.raises(InputError, match="dim"):
            fit(small).start_.joint(dim)
