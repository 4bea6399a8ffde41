"""Interactions in every accepted form, and features, checked when they are parsed."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sgurinit.core import ItemFeatures, SGURInit
from sgurinit.core.inputs.features import as_features
from sgurinit.core.inputs.interactions import parse_interactions
from sgurinit.core.inputs.training_data import is_training_data
from sgurinit.data import planted
from sgurinit.errors import InputError

DENSE = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]], dtype=float)
EDGES = np.argwhere(DENSE)


def training_data(
    *, user_ids=("a", "b", "c", "d"), item_ids=(7, 5, 6, 4), duplicates=0
) -> types.SimpleNamespace:
    """The least that counts as a data set."""
    return types.SimpleNamespace(
        train=types.SimpleNamespace(duplicates=duplicates),
        train_matrix=lambda: sp.csr_array(DENSE),
        features={"text": np.eye(4)},
        user_ids=np.array(user_ids),
        item_ids=np.array(item_ids),
        fingerprint="f00",
    )


def parsed(source, **options):
    return parse_interactions(source, n_items=4, **options)


class TestForms:
    @pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "float64"])
    @pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
    def test_any_sparse_matrix(self, form, dtype):
        found = parsed(sp.coo_array(DENSE.astype(dtype)).asformat(form))
        np.testing.assert_array_equal(found.matrix.toarray(), DENSE)
        assert found.duplicates == 0

    def test_spmatrix_is_welcome_too(self):
        np.testing.assert_array_equal(parsed(sp.csr_matrix(DENSE)).matrix.toarray(), DENSE)

    def test_edge_list_in_any_order(self):
        found = parsed(EDGES[::-1])
        np.testing.assert_array_equal(found.matrix.toarray(), DENSE)

    def test_weights_are_only_zero_or_not(self):
        np.testing.assert_array_equal(parsed(sp.csr_array(DENSE * 4.5)).matrix.toarray(), DENSE)

    def test_stored_zeros_are_no_interactions(self):
        matrix = sp.csr_array(DENSE)
        matrix.data[0] = 0
        assert parsed(matrix).matrix.nnz == 4

    def test_duplicates_are_counted(self):
        found = parsed(np.concatenate([EDGES, EDGES[:2], EDGES[:1]]))
        np.testing.assert_array_equal(found.matrix.toarray(), DENSE)
        assert found.duplicates == 3

    def test_duplicates_in_an_uncanonical_matrix_are_counted(self):
        matrix = sp.csr_array((np.ones(3), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 4))
        found = parsed(matrix)
        assert found.duplicates == 1
        np.testing.assert_array_equal(found.matrix.toarray(), [[0, 1, 0, 0], [1, 0, 0, 0]])

    def test_dataset_brings_everything(self):
        start = SGURInit(n_clusters=2, random_state=0).fit(training_data(duplicates=3)).start_
        assert start.diagnostics.duplicate_interactions == 3
        assert start.user_ids.tolist() == ["a", "b", "c", "d"]
        assert start.item_ids.tolist() == [7, 5, 6, 4]
        assert start.fingerprint == "f00"

    def test_real_dataset_equals_its_parts(self, planted_case):
        dataset = planted(300, 200, seed=3)
        start = SGURInit(n_clusters=4, random_state=0).fit(dataset).start_
        parts = (
            SGURInit(n_clusters=4, random_state=0)
            .fit(planted_case.matrix, planted_case.features)
            .start_
        )
        for name, users in parts.users.items():
            np.testing.assert_array_equal(start.users[name], users)
        assert start.fingerprint == dataset.fingerprint
        np.testing.assert_array_equal(start.item_ids, dataset.item_ids)

    def test_dataset_with_items_in_another_order_cannot_be_transformed(self):
        estimator = SGURInit(n_clusters=2, random_state=0).fit(training_data(item_ids=[1, 2, 3, 4]))
        with pytest.raises(InputError, match="one order"):
            estimator.transform(training_data(item_ids=[4, 3, 2, 1]))

    def test_a_dataset_is_training_data(self):
        assert is_training_data(planted(100, 40))
        assert is_training_data(training_data())
        for other in (sp.csr_array(DENSE), EDGES, pd.DataFrame({"user": [1]}), [[0]]):
            assert not is_training_data(other)

    def test_a_fit_does_not_compute_the_fingerprint(self):
        dataset = planted(100, 40)
        start = SGURInit(n_clusters=2, random_state=0).fit(dataset).start_
        assert "fingerprint" not in vars(dataset)
        assert start.fingerprint == dataset.fingerprint
        assert "fingerprint" in vars(dataset)

    def test_a_lazy_frame_is_refused_with_what_to_call(self):
        lazy = pl.LazyFrame({"user": ["a"], "item": ["b"]})
        with pytest.raises(InputError, match="LazyFrame, expected a DataFrame: call its collect"):
            SGURInit(n_clusters=2).fit(lazy, {"text": np.eye(2)}, item_ids=["b", "c"])

    def test_a_dataset_with_too_few_user_ids_is_refused(self):
        with pytest.raises(InputError, match="user_ids has 3 entries but the matrix has 4 users"):
            parsed(training_data(user_ids=["a", "b", "c"]))


@st.composite
def lists_of_items(draw):
    """Items per user, some of them twice, each user's in one of the accepted forms."""
    users = draw(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=5))
    forms = st.sampled_from([list, tuple, lambda items: np.array(items, dtype=np.int64)])
    return users, [draw(forms)(items) for items in users]


class TestListsOfItems:
    ids = np.array(["tea", "cup", "pot", "jug"])

    @settings(max_examples=50, deadline=None)
    @given(lists_of_items())
    def test_they_equal_the_sparse_matrix(self, drawn):
        users, lists = drawn
        dense = np.zeros((len(users), 4))
        for user, items in enumerate(users):
            np.add.at(dense[user], items, 1)
        expected = parsed(sp.csr_array(dense))
        by_position = parsed(lists)
        by_id = parsed([self.ids[list(items)].tolist() for items in users], item_ids=self.ids)
        for found in (by_position, by_id):
            np.testing.assert_array_equal(found.matrix.toarray(), expected.matrix.toarray())
            assert found.duplicates == sum(map(len, users)) - expected.matrix.nnz
            assert found.user_ids is None

    @pytest.mark.slow
    @settings(max_examples=20, deadline=None)
    @given(lists_of_items(), st.sampled_from(["mean", "sym"]))
    def test_new_users_equal_those_of_the_sparse_matrix(self, drawn, local_norm):
        users, lists = drawn
        estimator = SGURInit(n_clusters=2, local_norm=local_norm, joint_dim=2, random_state=0)
        estimator.fit(sp.csr_array(DENSE), {"text": np.eye(4)}, item_ids=self.ids)
        dense = np.zeros((len(users), 4))
        for user, items in enumerate(users):
            dense[user, list(items)] = 1
        expected = estimator.transform(sp.csr_array(dense))
        named = [[self.ids[item] for item in items] for items in lists]
        for name, rows in estimator.transform(named).items():
            np.testing.assert_array_equal(rows, expected[name])
        items = np.arange(12.0).reshape(4, 3)
        np.testing.assert_array_equal(
            estimator.on(items, named), estimator.on(items, sp.csr_array(dense))
        )

    def test_fit_and_partial_fit_take_them(self):
        features = {"text": np.eye(4)}
        lists = [np.flatnonzero(row).tolist() for row in DENSE]
        expected = SGURInit(n_clusters=2, random_state=0).fit(sp.csr_array(DENSE), features)
        found = SGURInit(n_clusters=2, random_state=0).fit(lists, features)
        np.testing.assert_array_equal(found.start_.users["text"], expected.start_.users["text"])
        grown = SGURInit(n_clusters=2, random_state=0).partial_fit(lists[:2], features)
        grown.partial_fit([[], [], *lists[2:]])
        np.testing.assert_allclose(
            grown.start_.users["text"], expected.start_.users["text"], rtol=1e-6
        )

    def test_a_pair_of_integers_is_a_user_with_two_items(self):
        np.testing.assert_array_equal(
            parsed([[0, 1], [2, 3]]).matrix.toarray(), [[1, 1, 0, 0], [0, 0, 1, 1]]
        )

    def test_sets_and_users_without_items(self):
        found = parsed([{2, 0}, [], frozenset({np.int32(3)})]).matrix.toarray()
        np.testing.assert_array_equal(found, [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
        assert parsed([]).matrix.shape == (0, 4)

    @pytest.mark.parametrize(
        ("lists", "item_ids", "message"),
        [
            ([["tea"], ["cup", "mug"]], ids, "user 1: item 'mug' is not in item_ids"),
            ([[], [2]], ids, "user 1: item 2 is not in item_ids, which holds strings"),
            ([["tea"]], None, "user 0: item 'tea' is an id, but items are known by position"),
            ([[0], [1, 4]], None, "user 1: item 4 is not a position, expected an .* 0 to 3"),
            ([[-1]], None, "user 0: item -1"),
            ([[True]], None, "user 0: item True"),
            ([[True]], [1, 2, 3, 4], "user 0: item True"),
            ([[1.0]], None, "user 0: item 1.0"),
            ([[[0]]], None, r"user 0: item \[0\]"),
            (["tea", "cup"], ids, "user 0: expected a list of items, got 'tea'"),
            ([0, 1], None, "user 0: expected a list of items, got 0; .* edge list is an ndarray"),
            ([{"tea": 1}], ids, "user 0: expected a list of items, got dict"),
            ([np.eye(2)], None, "user 0: expected a list of items, got ndarray"),
        ],
    )
    def test_an_unknown_item_is_named_with_its_user(self, lists, item_ids, message):
        with pytest.raises(InputError, match=message):
            parsed(lists, item_ids=item_ids)


class TestDataFrames:
    users = np.array(["ann", "bob", "cat", "dan"])
    items = np.array(["x9", "x1", "x5", "x3"])

    def frame(self, library):
        order = np.random.default_rng(0).permutation(len(EDGES))
        columns = {
            "user": self.users[EDGES[order, 0]].tolist(),
            "when": list(range(len(EDGES))),
            "item": self.items[EDGES[order, 1]].tolist(),
        }
        return library.DataFrame(columns)

    @pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
    def test_string_ids_in_shuffled_order(self, library):
        found = parsed(self.frame(library), item_ids=self.items)
        assert found.user_ids.tolist() == ["ann", "bob", "dan"]
        np.testing.assert_array_equal(found.matrix.toarray(), DENSE[[0, 1, 3]])

    @pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
    def test_features_follow_their_ids_not_their_position(self, library):
        features = np.arange(8.0).reshape(4, 2)
        order = np.array([2, 0, 3, 1])
        one = SGURInit(n_clusters=2, random_state=0).fit(
            self.frame(library), {"f": features}, item_ids=self.items
        )
        two = SGURInit(n_clusters=2, random_state=0).fit(
            self.frame(library), {"f": features[order]}, item_ids=self.items[order]
        )
        np.testing.assert_allclose(one.start_.users["f"], two.start_.users["f"], rtol=1e-6)
        assert two.start_.item_ids.tolist() == self.items[order].tolist()
        found = two.transform(self.frame(library))
        np.testing.assert_array_equal(found["f"], two.start_.users["f"])

    def test_categorical_and_integer_ids(self):
        frame = pd.DataFrame({"user": [30, 10], "item": pd.Categorical(["x5", "x9"])})
        found = parsed(frame, item_ids=self.items)
        assert found.user_ids.tolist() == [10, 30]
        np.testing.assert_array_equal(found.matrix.toarray(), [[1, 0, 0, 0], [0, 0, 1, 0]])

    @pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
    def test_other_column_names_are_listed_with_the_way_to_rename_them(self, library):
        frame = library.DataFrame({"customer_id": ["a"], "sku": ["p"]})
        way = "columns={" if library is pd else "{"
        message = (
            "the DataFrame has no column 'user', it has customer_id, sku: rename the one with the "
            f"users, for example .rename({way}'customer_id': 'user'}})"
        )
        with pytest.raises(InputError) as caught:
            parse_interactions(frame, 4, ["p", "q", "r", "s"])
        assert str(caught.value) == message

    @pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
    def test_unknown_item_id_is_named_with_its_row(self, library):
        frame = library.DataFrame({"user": ["a", "b"], "item": ["x9", "zzz"]})
        with pytest.raises(InputError, match=r"row 1.*'zzz'"):
            parsed(frame, item_ids=self.items)

    @pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
    def test_missing_id_is_named_with_its_row(self, library):
        frame = library.DataFrame({"user": ["a", None], "item": ["x9", "x1"]})
        with pytest.raises(InputError, match=r"column 'user', row 1"):
            parsed(frame, item_ids=self.items)

    @pytest.mark.parametrize(
        ("frame", "item_ids", "message"),
        [
            ({"user": [1], "thing": [2]}, items, "no column 'item'"),
            ({"user": [1], "item": ["x9"]}, None, "pass item_ids"),
            ({"user": [1], "item": [9]}, items, "integers but item_ids holds strings"),
            ({"user": [1.5], "item": ["x9"]}, items, "must hold integers or strings"),
            ({"user": [1], "item": ["x9"]}, items[:3], "3 entries but there are 4"),
            ({"user": [1], "item": ["x9"]}, np.array(["x9"] * 4), "more than once"),
            ({"user": [2**63], "item": ["x9"]}, items, "beyond 64 bits"),
        ],
    )
    def test_bad_frames(self, frame, item_ids, message):
        with pytest.raises(InputError, match=message):
            parsed(pd.DataFrame(frame), item_ids=item_ids)


class TestBadInteractions:
    @pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
    def test_bad_weight_is_named_with_its_place(self, weight):
        dense = DENSE.copy()
        dense[3, 0] = weight
        with pytest.raises(InputError, match=r"user 3, item 0.*weight"):
            parsed(sp.csr_array(dense))

    @pytest.mark.parametrize(
        ("edges", "message"),
        [
            (np.array([[0, 4]]), "interaction 0: item position 4.*0 to 3"),
            (np.array([[0, 1], [0, -1]]), "interaction 1: item position -1"),
            (np.array([[-2, 1]]), "user position -2"),
            (np.array([[0.0, 1.0]]), "integer positions"),
            (np.array([["a", "b"]]), "DataFrame"),
            (np.array([0, 1]), "shape"),
            (np.array([[1, 0, 1]]), "scipy.sparse"),
            ("trn.csv", "got str"),
            ({"user": [1]}, "got dict"),
        ],
    )
    def test_bad_edges(self, edges, message):
        with pytest.raises(InputError, match=message):
            parsed(edges)

    def test_index_beyond_the_matrix_is_an_error(self):
        rows, columns = sp.csr_array(DENSE), sp.coo_array(DENSE)
        rows.indices[0] = 9
        with pytest.raises(InputError, match=r"damaged: (column index values|indices) must be < 4"):
            parsed(rows)
        columns.coords[1][0] = 9
        with pytest.raises(InputError, match="item position 9"):
            parsed(columns)

    def test_wrong_width_is_an_error(self):
        with pytest.raises(InputError, match=r"\(4, 3\), expected \(n_users, 4\)"):
            parsed(sp.csr_array(DENSE[:, :3]))

    def test_complex_weights_are_an_error(self):
        with pytest.raises(InputError, match="complex"):
            parsed(sp.csr_array(DENSE.astype(complex)))


class TestFeatures:
    @pytest.mark.parametrize(
        ("values", "present", "message"),
        [
            (np.ones(3), None, "shape"),
            (np.ones((3, 2), dtype=int), None, "got int64.*astype"),
            (np.ones((3, 2), dtype=np.longdouble), None, "float64"),
            (np.ones((3, 0)), None, "at least one column"),
            (np.array([[1.0], [np.nan], [np.inf]]), None, "row 1"),
            (np.ones((3, 2)), np.ones(2, bool), r"shape \(3,\)"),
            (np.ones((3, 2)), np.ones(3), "must be bool"),
            (np.ones((3, 2)), np.zeros(3, bool), "no item has a row"),
            (np.ones((0, 2)), None, "no item has a row"),
        ],
    )
    def test_bad_tables(self, values, present, message):
        with pytest.raises(InputError, match=message):
            ItemFeatures(values, present)

    @pytest.mark.parametrize("kind", [np.float32, np.int64])
    @pytest.mark.parametrize(
        "make",
        [
            pl.Series,
            lambda rows: pl.Series(rows, dtype=pl.List(pl.Float32)).to_numpy(),
            lambda rows: pl.Series(rows, dtype=pl.Array(pl.Float32, 2)),
            pd.Series,
            lambda rows: pd.Series([np.array(row) for row in rows]),
            lambda rows: pd.Series(rows).to_numpy(),
            lambda rows: rows,
        ],
    )
    def test_a_column_of_lists_is_a_table(self, make, kind):
        rows = np.array([[0, 1], [2, 0], [1, 1]], dtype=kind)
        found = as_features({"text": make(rows.tolist())})["text"]
        assert found.values.dtype.kind == "f"
        np.testing.assert_array_equal(found.values, rows)

    @pytest.mark.parametrize("form", [pl.Series, pd.Series, list])
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([[1.0, 2.0], [1.0, 2.0, 3.0]], r"row 1 has 3 numbers, row 0 has 2: .*\(values, pres"),
            ([[1.0, 2.0], None], r"row 1 has no vector, .*ItemFeatures\(values, present\)"),
            ([None, [1.0, 2.0]], r"row 0 has no vector, .*ItemFeatures\(values, present\)"),
            ([[1.0, 2.0], [3.0, None]], r"row 1 holds .*ItemFeatures\(values, present\)"),
        ],
    )
    def test_a_bad_vector_is_named_with_its_row(self, rows, message, form):
        with pytest.raises(InputError, match=r"features\['text'\]: " + message):
            as_features({"text": form(rows)})

    @pytest.mark.parametrize("form", [pl.Series, pd.Series, list])
    def test_missing_vectors_are_marked_as_not_present(self, form):
        rows = [[1.0, 2.0], None, [3.0, 4.0]]
        found = ItemFeatures(form(rows), [True, False, True])
        np.testing.assert_array_equal(found.rows(), [[1, 2], [3, 4]])
        with pytest.raises(InputError, match="no item has a row"):
            ItemFeatures(form(rows), [False, False, False])

    def test_absent_rows_may_hold_anything(self):
        table = ItemFeatures(np.array([[np.nan], [1.0]]), np.array([False, True]))
        assert (table.n_items, table.n_present, table.width) == (2, 1, 1)
        np.testing.assert_array_equal(table.rows(), [[1.0]])

    def test_a_memory_map_stays_one(self, tmp_path):
        np.save(tmp_path / "f.npy", np.ones((3, 2)))
        table = ItemFeatures(np.load(tmp_path / "f.npy", mmap_mode="r"))
        assert isinstance(table.values, np.memmap)
        assert table.rows() is table.values

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            ({}, "non-empty mapping"),
            (np.eye(3), "non-empty mapping"),
            ({"a": np.eye(3), "b": np.ones((2, 2))}, "'b'.*2 rows.*'a'.*3"),
            ({"a": np.eye(3, dtype=int)}, r"features\['a'\]"),
            ({"joint": np.eye(3)}, "'joint'"),
            ({"a/b": np.eye(3)}, "'a/b'"),
            ({"": np.eye(3)}, "non-empty strings"),
            ({3: np.eye(3)}, "name 3"),
        ],
    )
    def test_bad_mappings(self, features, message):
        with pytest.raises(InputError, match=message):
            as_features(features)

    def test_features_are_needed(self):
        with pytest.raises(InputError, match="features are missing"):
            SGURInit().fit(sp.csr_array(DENSE))
