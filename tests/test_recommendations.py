"""Recommendations of models and of starts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.data import Dataset, Interactions, load_dataset, planted
from sgurinit.errors import InputError
from sgurinit.models import LightGCN, Recommender
from sgurinit.recommendations import lists, recommend
from sgurinit.training import TrainSettings, train
from sgurinit.training.run import build_model

DIM = 8


@pytest.fixture(scope="module")
def dataset():
    return planted(150, 80, seed=4)


@pytest.fixture(scope="module")
def estimator(dataset):
    return SGURInit(n_clusters=4, joint_dim=DIM, random_state=0).fit(dataset)


@pytest.fixture(scope="module")
def start(estimator):
    return estimator.start_


@pytest.fixture(scope="module")
def wines():
    return load_dataset("xwines")


@pytest.fixture(scope="module")
def wine_estimator(wines):
    return SGURInit.from_preset("hybrid", joint_dim=16, random_state=0).fit(wines)


@pytest.fixture(scope="module")
def frame(dataset):
    """The training interactions as a table of ids."""
    return pl.DataFrame(
        {
            "user": dataset.user_ids[dataset.train.users],
            "item": dataset.item_ids[dataset.train.items],
        }
    )


@pytest.fixture(scope="module")
def loaded(start, tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    start.save(path)
    return UserStart.load(path)


class FixedScores(Recommender):
    """A model with the vectors it is given."""

    citation = "none"

    def __init__(self, dataset, users, items):
        super().__init__(dataset)
        self.users, self.items = nn.Parameter(users), nn.Parameter(items)

    def embed(self):
        return self.users, self.items

    def loss(self, batch):
        raise AssertionError("not trained here")

    def user_tables(self):
        return []


def tiny(pairs, n_users, item_ids, user_ids=None):
    users, items = np.array(pairs).T
    none = Interactions(np.empty(0, int), np.empty(0, int))
    return Dataset(
        "tiny",
        "memory",
        train=Interactions(users, items),
        valid=none,
        test=none,
        features={"text": np.eye(len(item_ids))},
        user_ids=np.arange(n_users) if user_ids is None else user_ids,
        item_ids=item_ids,
    )


def assert_equals_reference(table, scores, known, users, user_ids, item_ids, k):
    """Compare with slow float64 scores; near ties may swap places."""
    for user in users:
        rows = table.filter(pl.col("user") == user_ids[user].item())
        candidates = np.flatnonzero(~known[user] & np.isfinite(scores[user]))
        best = np.sort(scores[user, candidates])[::-1][:k]
        at = [int(np.flatnonzero(item_ids == item)[0]) for item in rows["item"]]
        assert rows["rank"].to_list() == list(range(1, len(best) + 1))
        assert len(set(at)) == len(at)
        assert set(at) <= set(candidates.tolist())
        np.testing.assert_allclose(scores[user, at], best, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(rows["score"].to_numpy(), best, rtol=1e-4, atol=1e-6)


def assert_same_lists(table, expected):
    """Compare users, ranks and scores; items with nearly equal scores may swap places."""
    assert table.select("user", "rank").equals(expected.select("user", "rank"))
    scores = (one["score"].to_numpy() for one in (table, expected))
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exclude_known", [True, False])
def test_a_start_recommends_the_best_scores_of_its_joint_space(dataset, start, exclude_known):
    table = recommend(start, k=7, exclude_known=exclude_known)
    joint = start.joint(DIM)
    scores = joint.users.astype(np.float64) @ joint.items.astype(np.float64).T
    known = dataset.train_matrix().toarray() > 0
    assert len(table) == 7 * dataset.n_users
    assert_equals_reference(
        table,
        scores,
        known & exclude_known,
        range(dataset.n_users),
        dataset.user_ids,
        dataset.item_ids,
        7,
    )


def test_a_trained_model_recommends_with_its_own_data(dataset):
    trained = train(
        dataset, LightGCN, settings=TrainSettings(max_epochs=1), config={"width": DIM}, seed=1
    )
    assert trained.dataset is dataset
    table = recommend(trained, k=5)
    users, items = (vectors.detach().double().numpy() for vectors in trained.model.embed())
    known = dataset.train_matrix().toarray() > 0
    everyone = range(dataset.n_users)
    assert_equals_reference(
        table, users @ items.T, known, everyone, dataset.user_ids, dataset.item_ids, 5
    )
    assert recommend(trained.model, k=5, data=dataset).equals(table)


def test_ids_and_their_types_are_kept(dataset):
    names = np.array([f"item {n}" for n in range(3)])
    data = tiny([(0, 0), (1, 1)], 2, names, np.array([70, 30], dtype=np.int32))
    model = FixedScores(data, torch.eye(2, 3), torch.eye(3))
    table = recommend(model, [30, 70], data=data, k=1)
    assert table.to_dict(as_series=False) == {
        "user": [30, 70],
        "rank": [1, 1],
        "item": ["item 0", "item 1"],
        "score": [0.0, 0.0],
    }
    assert table.schema["user"] == pl.Series(data.user_ids).dtype
    assert table.schema["item"] == pl.String


@pytest.mark.parametrize("kind", [list, np.asarray, pl.Series, tuple])
def test_users_come_as_any_array(dataset, start, kind):
    wanted = dataset.user_ids[[5, 2, 9]].tolist()
    table = recommend(start, kind(wanted), k=2)
    assert table["user"].to_list() == [user for user in wanted for _ in range(2)]
    expected = recommend(start, k=2).filter(pl.col("user").is_in(wanted)).sort("user", "rank")
    assert_same_lists(table.sort("user", "rank"), expected)


def test_no_users_give_an_empty_table_of_the_same_columns(start):
    assert recommend(start, []).schema == recommend(start, k=1).schema
    assert recommend(start, []).is_empty()


def test_without_ids_users_and_items_are_positions(dataset):
    features = {"text": dataset.features["text"].values}
    estimator = SGURInit(n_clusters=4, joint_dim=DIM, random_state=0)
    start = estimator.fit(dataset.train_matrix(), features).start_
    table = recommend(start, [3], k=4)
    assert table["user"].unique().to_list() == [3]
    known = set(dataset.train.items[dataset.train.users == 3].tolist())
    assert not known & set(table["item"].to_list())
    assert set(table["item"].to_list()) <= set(range(dataset.n_items))


def test_equal_scores_come_in_the_order_of_the_items():
    data = tiny([(0, 2), (1, 0)], 2, np.array(list("edcba")))
    model = FixedScores(data, torch.ones(2, 1), torch.tensor([[1.0], [2.0], [2.0], [1.0], [2.0]]))
    table = recommend(model, data=data, k=3)
    assert table["item"].to_list() == ["d", "a", "e", "d", "c", "a"]


def test_fewer_candidates_give_fewer_rows():
    data = tiny([(0, 0), (0, 1), (0, 2), (1, 0)], 2, np.arange(3))
    model = FixedScores(data, torch.eye(2, 3), torch.eye(3))
    table = recommend(model, data=data)
    assert table["user"].to_list() == [1, 1]
    assert table["rank"].to_list() == [1, 2]


def test_blocks_of_users_change_nothing(dataset, start, monkeypatch):
    whole = recommend(start, k=6)
    monkeypatch.setattr(lists, "_MAX_BLOCK_USERS", 7)
    blocks = recommend(start, k=6)
    assert_same_lists(blocks, whole)


def test_a_block_holds_fewer_users_where_there_are_many_items(monkeypatch):
    monkeypatch.setattr(lists, "_BLOCK_SCORES", 100)
    assert [len(block) for block in lists._blocks(np.arange(25), 10)] == [10, 10, 5]
    assert [len(block) for block in lists._blocks(np.arange(2), 1000)] == [1, 1]


def test_a_start_never_recommends_items_without_features(dataset):
    present = np.ones(dataset.n_items, dtype=bool)
    present[::3] = False
    features = {"text": ItemFeatures(dataset.features["text"].values, present)}
    estimator = SGURInit(n_clusters=4, joint_dim=DIM, random_state=0)
    start = estimator.fit(dataset.train_matrix(), features).start_
    table = recommend(start, k=dataset.n_items)
    assert set(table["item"].to_list()) == set(np.flatnonzero(present).tolist())


def test_a_loaded_start_takes_the_known_items_from_the_data(dataset, start, loaded):
    fitted = recommend(start, k=5)
    table = recommend(loaded, k=5, data=dataset)
    assert table.select("user", "rank", "item").equals(fitted.select("user", "rank", "item"))
    everything = recommend(loaded, k=5, exclude_known=False)
    assert everything.equals(recommend(start, k=5, exclude_known=False))


def test_the_data_of_a_start_are_matched_by_id(dataset, start):
    order = np.random.default_rng(0).permutation(dataset.n_users)
    back = np.argsort(order)
    none = Interactions(np.empty(0, int), np.empty(0, int))
    moved = Dataset(
        "moved",
        "memory",
        train=Interactions(back[dataset.train.users], dataset.train.items),
        valid=none,
        test=none,
        features={},
        user_ids=dataset.user_ids[order],
        item_ids=dataset.item_ids,
    )
    assert recommend(start, k=5, data=moved).equals(recommend(start, k=5))


def test_real_data_have_recommendations_of_their_own_ids(wines, wine_estimator):
    data = wines
    users = data.user_ids[:50]
    table = recommend(wine_estimator.start_, users, k=10)
    assert table["user"].unique().sort().to_list() == sorted(users.tolist())
    assert set(table["item"].to_list()) <= set(data.item_ids.tolist())
    pairs = set(zip(data.train.users.tolist(), data.train.items.tolist(), strict=True))
    item_at = {item: at for at, item in enumerate(data.item_ids.tolist())}
    user_at = {user: at for at, user in enumerate(data.user_ids.tolist())}
    recommended = table.select("user", "item").iter_rows()
    assert not pairs & {(user_at[user], item_at[item]) for user, item in recommended}


@pytest.mark.parametrize("exclude_known", [True, False])
def test_new_users_are_ranked_by_the_equations_of_the_method(dataset, estimator, exclude_known):
    joint = estimator.start_.joint(DIM)
    items, centroids = joint.items.astype(np.float64), joint.clusters.centroids.astype(np.float64)
    positions = [[3, 7, 20], [5], list(range(30, 50))]
    users = np.array(
        [
            0.5 * items[own].mean(axis=0) + 0.5 * centroids[joint.clusters.labels[own]].mean(axis=0)
            for own in positions
        ]
    )
    known = np.zeros((3, dataset.n_items), dtype=bool)
    for user, own in enumerate(positions):
        known[user, own] = exclude_known
    lists = [dataset.item_ids[own].tolist() for own in positions]
    table = recommend(estimator, lists, k=9, exclude_known=exclude_known)
    assert len(table) == 27
    assert_equals_reference(
        table, users @ items.T, known, range(3), np.arange(3), dataset.item_ids, 9
    )
    assert table.columns == ["user", "rank", "item", "score"]


@pytest.mark.parametrize("kind", [list, tuple, set, np.array])
def test_lists_of_new_users_come_in_the_forms_that_transform_takes(dataset, estimator, kind):
    own = dataset.item_ids[[3, 7]].tolist()
    expected = recommend(estimator, [own, own[:1]], k=3)
    assert_same_lists(recommend(estimator, [kind(own), kind(own[:1])], k=3), expected)


def test_a_new_user_without_clicks_gets_a_full_list(dataset, estimator):
    table = recommend(estimator, [[], dataset.item_ids[:2].tolist()], k=4)
    assert table["user"].to_list() == [0] * 4 + [1] * 4
    assert np.isfinite(table["score"].to_numpy()).all()


def test_new_users_of_a_fit_without_ids_click_positions(dataset):
    features = {"text": dataset.features["text"].values}
    estimator = SGURInit(n_clusters=4, joint_dim=DIM, random_state=0)
    estimator.fit(dataset.train_matrix(), features)
    items = recommend(estimator, [[0, 1, 2]], k=dataset.n_items)["item"].to_list()
    assert sorted(items) == list(range(3, dataset.n_items))


def test_an_estimator_ranks_the_users_of_its_fit_as_its_start_does(dataset, estimator, start):
    ids = dataset.user_ids[:4]
    assert recommend(estimator, ids, k=3).equals(recommend(start, ids, k=3))
    assert recommend(estimator, k=3).equals(recommend(start, k=3))


def test_real_users_and_new_users_with_their_clicks_get_the_same_lists(wines, wine_estimator):
    users = np.unique(wines.train.users)[:60]
    lists = [wines.item_ids[wines.train.items[wines.train.users == user]] for user in users]
    new = recommend(wine_estimator, lists, k=10)
    known = recommend(wine_estimator, wines.user_ids[users], k=10)
    assert new["user"].to_list() == [at for at in range(60) for _ in range(10)]
    assert new["item"].dtype == known["item"].dtype
    assert_same_lists(
        new.drop("user").with_columns(user=0), known.drop("user").with_columns(user=0)
    )


@pytest.mark.parametrize("kind", ["polars", "pandas", "sparse", "edges", "lists"])
def test_known_items_come_in_the_forms_that_fit_takes(dataset, frame, start, loaded, kind):
    matrix = dataset.train_matrix()
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)
    data = {
        "polars": lambda: shuffled,
        "pandas": lambda: pytest.importorskip("pandas").DataFrame(
            shuffled.to_dict(as_series=False)
        ),
        "sparse": lambda: matrix,
        "edges": lambda: np.array(matrix.nonzero()).T,
        "lists": lambda: [dataset.item_ids[matrix[[u]].indices] for u in range(dataset.n_users)],
    }[kind]()
    users = frame["user"].unique(maintain_order=True)
    assert_same_lists(recommend(loaded, users, k=5, data=data), recommend(start, users, k=5))


def test_a_table_of_positions_has_the_known_items_of_a_fit_without_ids(dataset):
    features = {"text": dataset.features["text"].values}
    estimator = SGURInit(n_clusters=4, joint_dim=DIM, random_state=0)
    start = estimator.fit(dataset.train_matrix(), features).start_
    frame = pl.DataFrame({"user": dataset.train.users, "item": dataset.train.items})
    users = np.unique(dataset.train.users)
    assert recommend(start, users, k=5, data=frame).equals(recommend(start, users, k=5))


def test_data_must_have_the_users_to_recommend_to(dataset, frame, loaded):
    some = frame["user"].unique(maintain_order=True)
    part = frame.filter(~pl.col("user").is_in(some[:4].implode()))
    assert len(recommend(loaded, some[4:6], k=2, data=part)) == 4
    with pytest.raises(InputError, match=rf"lacks 2 of the users .*\({some[1]!r}, {some[3]!r}\)"):
        recommend(loaded, [some[1], some[5], some[3]], data=part)
    with pytest.raises(InputError, match=r"lacks \d+ of the users .* and \d+ more\): add their"):
        recommend(loaded, data=part)


def test_a_data_set_must_have_the_users_to_recommend_to(dataset, loaded):
    train = Interactions(dataset.train.users % 120, dataset.train.items)
    none = Interactions(np.empty(0, int), np.empty(0, int))
    ids = dataset.user_ids[:120], dataset.item_ids
    part = Dataset("part", "memory", train, none, none, {}, *ids)
    with pytest.raises(InputError, match=r"data lacks 30 of the users .*'u0120'"):
        recommend(loaded, data=part)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "data: interactions must be .* or a Dataset, got int"),
        (
            {"user": ["u0000"], "item": ["i0000"]},
            "data: interactions must be .*, got dict",
        ),
        (
            pl.DataFrame({"customer": [1], "item": [2]}),
            "data: the DataFrame has no column 'user'",
        ),
        (
            pl.DataFrame({"user": ["u0001"], "item": ["i9"]}),
            "data: column 'item', row 0: item id",
        ),
        (
            pl.DataFrame({"user": ["x"], "item": ["i0001"]}),
            "data, column 'user': id 'x' is unknown",
        ),
        (pl.DataFrame({"user": [1], "item": ["i0001"]}), "data, column 'user': id 1 is of another"),
        (pl.DataFrame({"user": [None], "item": ["a"]}), "data: column 'user'"),
        (
            pl.LazyFrame({"user": ["u0001"], "item": ["i0001"]}),
            "are a LazyFrame.*collect",
        ),
        ([["i0001"]], "data has 1 users, the start 150"),
        ([["nothing"]], "data: interactions, user 0: item 'nothing' is not in item_ids"),
        (np.zeros((3, 3)), "data: interactions must be"),
    ],
)
def test_what_cannot_be_data_is_one_clear_line(data, message, loaded):
    with pytest.raises(InputError, match=message) as caught:
        recommend(loaded, data=data)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_start_needs_no_torch():
    code = """
import sys
from importlib.abc import MetaPathFinder
class NoTorch(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "lightning"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTorch())
from sgurinit import SGURInit, recommend
from sgurinit.data import planted
start = SGURInit(joint_dim=4, random_state=0).fit(planted(100, 50)).start_
print(len(recommend(start, k=3)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "300", done.stderr


def test_a_wrong_call_is_one_clear_line(dataset, frame, estimator, start, loaded):
    model = build_model(LightGCN, dataset, LightGCN.Config(width=DIM), seed=0)
    unfitted = SGURInit(n_clusters=4, joint_dim=DIM)
    without_joint = SGURInit(n_clusters=4, random_state=0).fit(dataset)
    plain = without_joint.start_
    foreign = planted(40, 80, seed=1)
    cases = [
        ((start, ["nobody", "u1"]), {}, "users: id 'nobody'"),
        ((start,), {"k": 0}, "k is 0, expected an integer of at least 1"),
        ((start,), {"k": True}, "k is True, expected"),
        ((start, np.ones((1, 2), int)), {}, r"users has shape \(1, 2\), expected"),
        ((start, "u0001"), {}, "users is 'u0001', expected a list of ids"),
        ((start, [["i0001"]]), {}, "lists of items.*give the fitted SGURInit as source"),
        ((model, [["i0001"]]), {"data": dataset}, "a LightGCN cannot place: for new users"),
        ((unfitted,), {}, "source is an SGURInit that is not fitted: call its fit first"),
        ((unfitted, [["i0001"]]), {}, "source is an SGURInit that is not fitted"),
        ((without_joint, [["i0001"]]), {}, r"no joint space.*set joint_dim"),
        ((estimator, [["tea"]]), {}, "users: interactions, user 0: item 'tea' is not in item_ids"),
        ((estimator, [["i0001"], "i0002"]), {}, "user 1: expected a list of items, got 'i0002'"),
        ((estimator, [["i0001"]]), {"data": dataset}, "data has no effect for new users"),
        ((start, [1.5]), {}, "users holds float64, expected ids"),
        ((plain,), {}, r"no joint space.*set joint_dim"),
        ((loaded,), {}, r"no interactions: give .* as data, or set exclude_known=False"),
        ((start,), {"data": dataset, "exclude_known": False}, "data has no effect"),
        ((model,), {}, "data is missing"),
        ((model,), {"data": frame}, "data is of type DataFrame, expected the Dataset"),
        ((model,), {"data": foreign}, "data has 40 users and 80 items, the model was built for"),
        ((object(),), {}, "source is of type object, expected a Trained"),
    ]
    for args, options, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            recommend(*args, **options)
        assert "\n" not in str(caught.value)


def test_data_of_another_kind_of_ids_are_refused(start):
    data = tiny([(0, 0)], 1, np.arange(3))
    with pytest.raises(InputError, match="data, users: id 0 is of another type than the known"):
        recommend(start, data=data)
