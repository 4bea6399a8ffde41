"""partial_fit equals a fit on all of the data, and computes only the rows that change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sgurinit.core import ItemFeatures, SGURInit
from sgurinit.core.steps.space import Space
from sgurinit.errors import InputError


@pytest.fixture(autouse=True)
def _quick(quick):
    """Remember clusterings."""


def world(seed, n_users=14, n_items=9):
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < 0.25
    dense[0, 0] = True
    features = {"a": rng.normal(size=(n_items, 3)), "b": rng.normal(size=(n_items, 2))}
    present = rng.random(n_items) < 0.8
    present[:4] = True
    dense[0, :4] = True
    return dense, {"a": features["a"], "b": ItemFeatures(features["b"], present)}


def take_first(features, n):
    return {
        "a": features["a"][:n],
        "b": ItemFeatures(features["b"].values[:n], features["b"].present[:n]),
    }


def take_rest(features, n):
    rows, present = features["b"].values[n:], features["b"].present[n:]
    some = {"b": ItemFeatures(rows, present)} if present.any() else {}
    return {"a": features["a"][n:], **some}


def assert_close(found, expected):
    """Equal but for the last digit: a product of matrices rounds by its shape."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def assert_same_start(found, expected):
    one, two = found.start_, expected.start_
    for name in two.users:
        assert_close(one.users[name], two.users[name])
        np.testing.assert_array_equal(one.clusters[name].labels, two.clusters[name].labels)
    if found.joint_dim is not None:
        assert_close(one.joint(found.joint_dim).users, two.joint(found.joint_dim).users)
    counts = [
        {
            name: value
            for name, value in vars(facts).items()
            if name.startswith(("n_", "users_", "d"))
        }
        for facts in (one.diagnostics, two.diagnostics)
    ]
    assert counts[0] == counts[1]
    assert one.fingerprint == two.fingerprint


def why_refused(function, *arguments):
    """The error for data that are too few, such as no user with two items."""
    try:
        function(*arguments)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@example(
    seed=2914,
    norm="sym",
    local_weight=0.0,
    joint_dim=2,
    collaborative=True,
    old_users=3,
    old_items=6,
)  # refused with all of the data
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(["sym", "mean"]),
    local_weight=st.sampled_from([0.0, 0.1, 1.0]),
    joint_dim=st.sampled_from([None, 2]),
    collaborative=st.booleans(),
    old_users=st.integers(1, 14),
    old_items=st.integers(4, 9),
)
def test_it_equals_a_fit_on_all_of_the_data(
    seed, norm, local_weight, joint_dim, collaborative, old_users, old_items
):
    dense, features = world(seed)
    rng = np.random.default_rng(seed + 1)
    early = dense & (rng.random(dense.shape) < 0.6)
    early[0, 0] = True
    early = early[:old_users, :old_items]
    options = {
        "n_clusters": 2,
        "local_weight": local_weight,
        "local_norm": norm,
        "joint_dim": joint_dim,
    }
    options |= {"collaborative": collaborative, "random_state": 0}
    late = dense.copy()
    late[:old_users, :old_items] &= ~early | (rng.random(early.shape) < 0.3)  # some come again
    more = sp.csr_array(late), None if old_items == 9 else take_rest(features, old_items)
    edges = np.concatenate([np.argwhere(early), np.argwhere(late)])
    together = sp.coo_array((np.ones(len(edges)), tuple(edges.T)), shape=dense.shape)
    first = sp.csr_array(early), take_first(features, old_items)
    found = SGURInit(**options)
    if (reason := why_refused(found.partial_fit, *first)) is not None:
        assert why_refused(SGURInit(**options).fit, *first) == reason
        return
    expected = SGURInit(**options)
    if (reason := why_refused(expected.fit, sp.csr_array(together), features)) is not None:
        assert why_refused(found.partial_fit, *more) == reason
        return
    found.partial_fit(*more)
    if found.start_.diagnostics.duplicate_interactions:  # a sparse matrix has summed them up
        repeated = len(edges) - int(expected.start_.fit.interactions.matrix.nnz)
        assert found.start_.diagnostics.duplicate_interactions == repeated
        object.__setattr__(expected.start_.fit.interactions, "duplicates", repeated)
    assert_same_start(found, expected)


@pytest.mark.parametrize(
    ("norm", "local_weight", "expected"),
    [("mean", 0.5, {1, 4}), ("sym", 0.0, {1, 4}), ("sym", 0.5, {0, 1, 4})],
)
def test_only_users_whose_rows_change_are_computed(norm, local_weight, expected, monkeypatch):
    # User 1 gets item 2, which user 0 has too; user 4 has nothing and follows the popularity.
    dense = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    if norm == "sym":
        dense[1, 0] = 0
        dense[1, 1] = 1
        dense[2, 1] = 0
        dense[2, 3] = 1
    found = SGURInit(n_clusters=2, local_weight=local_weight, local_norm=norm, random_state=0).fit(
        sp.csr_array(dense), {"m": np.random.default_rng(0).normal(size=(4, 3))}
    )
    seen = []
    users = Space.compute_users

    def counted(self, matrix, *machine):
        seen.append(matrix.shape[0])
        return users(self, matrix, *machine)

    before = found.start_
    rows = before.users["m"].copy()
    monkeypatch.setattr(Space, "compute_users", counted)
    found.partial_fit(np.array([[1, 2]]))
    assert seen == [len(expected)]
    changed = (found.start_.users["m"] != rows).any(axis=1)
    assert set(np.flatnonzero(changed)) <= expected
    np.testing.assert_array_equal(before.users["m"], rows)


def test_ids_are_kept_and_new_ones_come_last():
    features = {"m": np.random.default_rng(0).normal(size=(4, 3))}
    first = pd.DataFrame({"user": ["b", "d", "b"], "item": ["x", "y", "y"]})
    second = pd.DataFrame({"user": ["c", "b", "a"], "item": ["z", "z", "w"]})
    found = SGURInit(n_clusters=2, random_state=0).fit(
        first, {"m": features["m"][:2]}, item_ids=["x", "y"]
    )
    found.partial_fit(second, {"m": features["m"][2:]}, item_ids=["z", "w"])
    assert found.start_.user_ids.tolist() == ["b", "d", "a", "c"]
    assert found.start_.item_ids.tolist() == ["x", "y", "z", "w"]
    every = pd.concat([first, second])
    expected = SGURInit(n_clusters=2, random_state=0).fit(
        every, features, item_ids=["x", "y", "z", "w"]
    )
    order = [expected.start_.user_ids.tolist().index(u) for u in ["b", "d", "a", "c"]]
    assert_close(found.start_.users["m"], expected.start_.users["m"][order])
    found.partial_fit(pd.DataFrame({"user": ["a"], "item": ["x"]}))
    assert found.start_.user_ids.tolist() == ["b", "d", "a", "c"]


def test_real_data_grows_week_by_week(tiktok_case):
    coo = tiktok_case.matrix.tocoo()
    edges = np.column_stack([coo.row, coo.col])[np.random.default_rng(0).permutation(coo.nnz)]
    found = SGURInit(n_clusters=4, local_weight=0.5, random_state=0)
    shape = tiktok_case.matrix.shape
    for part in np.array_split(edges, 3):
        matrix = sp.csr_array((np.ones(len(part)), tuple(part.T)), shape=shape)
        found.partial_fit(matrix, tiktok_case.features if not hasattr(found, "start_") else None)
    assert_same_start(
        found,
        SGURInit(n_clusters=4, local_weight=0.5, random_state=0).fit(
            tiktok_case.matrix, tiktok_case.features
        ),
    )


EDGE = np.array([[0, 0]])


@pytest.mark.parametrize(
    ("interactions", "more", "message"),
    [
        (np.array([[0, 4]]), {}, "item position 4 is out of range, expected 0 to 3"),
        (EDGE, {"item_ids": [9]}, "item_ids are those of new items"),
        (EDGE, {"features": {"n": np.ones((1, 3))}}, "have features in 'n', the fit has m"),
        (EDGE, {"features": {"m": np.ones((1, 2))}}, "have 2 columns, the fit's have 3"),
        (
            EDGE,
            {"features": {"m": np.ones((1, 3))}, "item_ids": [9]},
            "knows items by position, so new ones have no item_ids",
        ),
        (pd.DataFrame({"user": [1], "item": [2]}), {}, "pass item_ids"),
    ],
)
def test_what_does_not_match_the_fit_is_refused(interactions, more, message):
    found = SGURInit(n_clusters=2, random_state=0).fit(
        np.eye(4, dtype=int)[:, :2] + EDGE, {"m": np.eye(4)[:, :3]}
    )
    before = found.start_
    with pytest.raises(InputError, match=message):
        found.partial_fit(interactions, **more)
    assert found.start_ is before


def test_ids_and_positions_do_not_mix():
    frame = pd.DataFrame({"user": ["u", "v"], "item": ["x", "y"]})
    found = SGURInit(n_clusters=2, random_state=0).fit(frame, {"m": np.eye(2)}, item_ids=["x", "y"])
    with pytest.raises(InputError, match="knows items by id: pass item_ids"):
        found.partial_fit(frame, {"m": np.eye(2)})
    with pytest.raises(InputError, match="of another kind"):
        found.partial_fit(frame, {"m": np.eye(2)}, item_ids=[1, 2])
    with pytest.raises(InputError, match="holds 'x' more than once"):
        found.partial_fit(frame, {"m": np.eye(2)}, item_ids=["x", "z"])
    with pytest.raises(
        InputError, match="knows users by id, the new interactions name them by pos"
    ):
        found.partial_fit(np.array([[5, 0]]))
    with pytest.raises(InputError, match="ids of another kind"):
        found.partial_fit(pd.DataFrame({"user": [1], "item": ["x"]}))
    with pytest.raises(InputError, match="a list of items per user has no user ids, which this"):
        found.partial_fit([["x"]])
    assert found.start_.diagnostics.n_interactions == 2
    found.partial_fit(np.array([[1, 0]]))  # the positions of known users
    assert found.start_.diagnostics.n_interactions == 3


def test_items_can_be_added_without_interactions():
    frame = pd.DataFrame({"user": ["u", "v"], "item": ["x", "y"]})
    found = SGURInit(n_clusters=2, random_state=0).fit(frame, {"m": np.eye(2)}, item_ids=["x", "y"])
    found.partial_fit([], {"m": [[0.5, 0.5]]}, item_ids=["z"])
    assert found.start_.item_ids.tolist() == ["x", "y", "z"]
    assert found.start_.user_ids.tolist() == ["u", "v"]


def test_users_on_any_item_vectors(tiktok_case):
    half = sp.csr_array(tiktok_case.matrix[:5000])
    found = SGURInit(n_clusters=4, local_weight=0.3, random_state=0).fit(half, tiktok_case.features)
    items = np.random.default_rng(0).normal(size=(half.shape[1], 6))
    expected = SGURInit(n_clusters=4, local_weight=0.3, random_state=0).fit(half, {"m": items})
    np.testing.assert_array_equal(found.on(items), expected.start_.users["m"])
    new = sp.csr_array(tiktok_case.matrix[5000:])
    np.testing.assert_array_equal(found.on(items, new), expected.transform(new)["m"])
    with pytest.raises(InputError, match="the item table has 3 rows, expected 6710"):
        found.on(items[:3], new)


def test_changed_parameters_need_a_new_fit():
    found = SGURInit(n_clusters=2, random_state=0).fit(np.array([[0, 0], [1, 1]]), {"m": np.eye(2)})
    with pytest.raises(InputError, match="parameters were changed since the fit"):
        found.set_params(local_weight=0.7).partial_fit(EDGE)
