"""The vector store: the nearest items of known and of new users."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from sgurinit.core import SGURInit, UserStart
from sgurinit.data import load_dataset
from sgurinit.errors import InputError
from sgurinit.integrations.vectors import INDEX_LIBRARIES, NearestItems, VectorStore
from sgurinit.integrations.vectors.index import index_library, scale_rows
from sgurinit.recommendations import recommend

WIDTH = 12


@pytest.fixture(params=sorted(INDEX_LIBRARIES))
def index(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@pytest.fixture
def store(start, index):
    return VectorStore.from_start(start, WIDTH, index=index)


@pytest.fixture(scope="module")
def wines():
    return load_dataset("xwines")


@pytest.fixture(scope="module")
def wine_estimator(wines):
    return SGURInit.from_preset("hybrid", joint_dim=16, random_state=0).fit(wines)


def nearest_by_sorting(row, items, left_out, k, metric="dot"):
    scores = items.astype(np.float64) @ row.astype(np.float64)
    if metric == "cosine":
        scores = scores / np.linalg.norm(items, axis=1) / np.linalg.norm(row)
    order = [at for at in np.argsort(-scores, kind="stable") if at not in left_out]
    return order[:k], scores[order[:k]]


@pytest.mark.parametrize("metric", ["dot", "cosine"])
def test_the_nearest_items_are_those_with_the_highest_scores(start, data, index, metric):
    store = VectorStore.from_start(start, WIDTH, index=index, metric=metric)
    joint = start.joint(WIDTH)
    for user in (0, 17, 89):
        own = set(data.train.items[data.train.users == user].tolist())
        order, scores = nearest_by_sorting(joint.users[user], joint.items, own, 5, metric)
        found = store.find_for_user(data.user_ids[user], 5)
        assert found.items == data.item_ids[order].tolist()
        np.testing.assert_allclose(found.scores, scores, atol=1e-5)
        order, _ = nearest_by_sorting(joint.users[user], joint.items, set(), 5, metric)
        assert (
            store.find_for_user(data.user_ids[user], 5, exclude_known=False).items
            == data.item_ids[order].tolist()
        )


def assert_agree(found, rows, exact):
    """Compare a store's answer with a table; an approximate index may miss an item."""
    if exact:
        np.testing.assert_allclose(found.scores, rows["score"].to_numpy(), rtol=1e-4, atol=1e-6)
    scores = dict(zip(rows["item"].to_list(), rows["score"].to_list(), strict=True))
    shared = [(item, score) for item, score in zip(*found, strict=True) if item in scores]
    for item, score in shared:
        assert score == pytest.approx(scores[item], rel=1e-4, abs=1e-6)
    return len(shared) / len(rows)


def test_a_store_and_recommend_agree_on_real_data(wines, wine_estimator, index):
    store = VectorStore.from_start(wine_estimator.start_, index=index)
    exact = index == "faiss"
    users = np.unique(wines.train.users)[:200]
    known = recommend(wine_estimator, wines.user_ids[users], k=10)
    lists = [wines.item_ids[wines.train.items[wines.train.users == user]] for user in users]
    new = recommend(wine_estimator, lists, k=10)
    shared = []
    for at, user in enumerate(users):
        rows = slice(10 * at, 10 * (at + 1))
        shared.append(assert_agree(store.find_for_user(wines.user_ids[user]), known[rows], exact))
        shared.append(assert_agree(store.find_for_clicks(lists[at]), new[rows], exact))
    assert np.mean(shared) > (0.999 if exact else 0.98)


def test_an_approximate_index_of_few_items_is_the_same_every_time(wine_estimator):
    pytest.importorskip("usearch", reason="usearch is not installed")
    joint = wine_estimator.start_.joint(16)
    library = index_library("usearch")
    found = []
    for _ in range(5):
        index = library.build(scale_rows(joint.items, "dot"))
        found.append([library.search(index, row, 10)[0].tolist() for row in joint.users[:300]])
    assert found == [found[0]] * 5
    nearest = np.argsort(-(joint.users[:300] @ joint.items.T), axis=1)[:, :10]
    missed = [len(set(row) - set(best)) for row, best in zip(found[0], nearest, strict=True)]
    assert np.mean(missed) < 0.1


def test_the_default_width_is_that_of_the_starts_joint_space(start, data, index):
    assert VectorStore.from_start(start, index=index).users.shape[1] == 64
    with_joint = SGURInit(n_clusters=4, joint_dim=7, random_state=0).fit(data).start_
    assert VectorStore.from_start(with_joint, index=index).users.shape[1] == 7
    assert VectorStore.from_start(with_joint, 5, index=index).users.shape[1] == 5


def test_a_store_and_its_answers_are_shown_in_a_few_words(start, index):
    store = VectorStore.from_start(start, WIDTH, index=index, metric="cosine")
    assert repr(store) == (
        f"VectorStore(90 users, 60 items, width 12)\n  index: {index}, metric: cosine"
    )
    answer = NearestItems(["a", "b", "c", "d", "e"], [0.91239, 0.5, 0.25, 0.125, 0.1])
    assert repr(answer) == "NearestItems('a' 0.9124, 'b' 0.5, 'c' 0.25, 2 more)"
    assert repr(NearestItems([7], [0.5])) == "NearestItems(7 0.5)"
    assert repr(NearestItems([], [])) == "NearestItems()"


def test_a_new_user_with_the_clicks_of_a_known_one_has_the_same_vector(store, start, data):
    for user in (3, 40):
        clicks = data.item_ids[data.train.items[data.train.users == user]].tolist()
        joint = start.joint(WIDTH)
        np.testing.assert_allclose(store.compute_user(clicks), joint.users[user], atol=1e-5)
        assert store.find_for_clicks(clicks).items == store.find_for_user(data.user_ids[user]).items


@pytest.mark.parametrize("metric", ["dot", "cosine"])
def test_a_saved_store_gives_the_same_answers(start, tmp_path, index, metric):
    store = VectorStore.from_start(start, WIDTH, index=index, metric=metric)
    store.save(tmp_path / "store")
    again = VectorStore.load(tmp_path / "store")
    assert again.metric == metric
    assert again.find_for_user("u0005") == store.find_for_user("u0005")
    clicks = ["i0001", "i0002", "i0003", "i0004", "i0005"]
    assert again.find_for_clicks(clicks) == store.find_for_clicks(clicks)
    users = pl.read_parquet(tmp_path / "store" / "users.parquet")
    assert users.schema["vector"] == pl.Array(pl.Float32, WIDTH)
    np.testing.assert_array_equal(users["vector"].to_numpy(), start.joint(WIDTH).users)
    assert (tmp_path / "store" / f"items.{index}").is_file()
    with pytest.raises(InputError, match="exists already"):
        store.save(tmp_path / "store")


def test_a_trained_models_vectors_replace_those_of_the_start(start, index):
    generator = np.random.default_rng(0)
    users = generator.normal(size=(90, 4)).astype(np.float32)
    items = generator.normal(size=(60, 4)).astype(np.float32)
    store = VectorStore.from_start(start, index=index, model_vectors=(users, items))
    order, _ = nearest_by_sorting(users[0], items, set(), 3)
    assert store.find_for_user("u0000", 3, exclude_known=False).items == [
        f"i{at:04}" for at in order
    ]
    assert store.compute_user(["i0004", "i0005"]).shape == (4,)
    with pytest.raises(InputError, match="model_vectors has 89 users, the start has 90"):
        VectorStore.from_start(start, index=index, model_vectors=(users[:89], items))
    with pytest.raises(InputError, match="59 rows"):
        VectorStore.from_start(start, index=index, model_vectors=(users, items[:59]))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda v: v.find_for_user("nobody"), "'nobody' is unknown; use find_for_clicks"),
        (lambda v: v.find_for_user(["u0000"]), r"\['u0000'\] is unknown; use find_for_clicks"),
        (lambda v: v.find_for_user("u0000", 0), "k is 0, expected an integer of at least 1"),
        (lambda v: v.find_for_user("u0000", k=2.5), "k is 2.5, expected an integer"),
        (lambda v: v.find_for_user("u0000", k=True), "k is True, expected an integer"),
        (lambda v: v.find_for_clicks(["i0001"], "3"), "k is '3', expected an integer"),
        (lambda v: v.find_for_clicks("i0001"), "item_ids is 'i0001', expected a list of item ids"),
        (lambda v: v.compute_user("i0001"), "item_ids is 'i0001', expected a list of item ids"),
        (lambda v: v.find_for_clicks(7), "item_ids is 7, expected a list of item ids"),
        (lambda v: v.find_for_clicks([["i0001"]]), "item_ids holds lists, expected a list of item"),
        (lambda v: v.find_for_clicks([]), "item_ids is empty"),
        (lambda v: v.find_for_clicks(["i0001", "x"]), r"items \['x'\] are unknown"),
    ],
)
def test_a_bad_query_is_one_clear_line(ask, message, store):
    with pytest.raises(InputError, match=message):
        ask(store)


def test_what_cannot_be_a_store_is_refused(start, tmp_path, index):
    with pytest.raises(InputError, match="cannot be read as a vector store"):
        VectorStore.load(tmp_path)
    with pytest.raises(InputError, match="index is 'tree', expected one of faiss, usearch"):
        VectorStore.from_start(start, index="tree")
    with pytest.raises(InputError, match="metric is 'angle', expected dot or cosine"):
        VectorStore.from_start(start, index=index, metric="angle")
    with pytest.raises(InputError, match=r"width is 2.5, expected an integer of at least 1"):
        VectorStore.from_start(start, 2.5, index=index)
    with pytest.raises(InputError, match="start is of type SGURInit, expected the start_ of"):
        VectorStore.from_start(SGURInit(), index=index)
    start.save(tmp_path / "start.safetensors")
    with pytest.raises(InputError, match="no interactions"):
        VectorStore.from_start(UserStart.load(tmp_path / "start.safetensors"), index=index)


@pytest.fixture
def folder(start, tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    VectorStore.from_start(start, WIDTH).save(tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize(
    "name", ["users.parquet", "items.parquet", "method.safetensors", "items.faiss"]
)
def test_a_changed_byte_is_noticed_in_every_file(name, folder):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged: wrong checksum"):
        VectorStore.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "x"},
        {"metric": None},
        {"local_weight": 2},
        {"local_weight": "x"},
        {"local_norm": ["mean"]},
        {"index": "x"},
        {"index": []},
        {"checksums": None},
        {"checksums": {}},
        {"format": 1},
    ],
)
def test_settings_are_checked(change, folder):
    path = folder / "vectors.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError):
        VectorStore.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000])
def test_settings_that_are_none_are_one_line(content, folder):
    (folder / "vectors.json").write_text(content)
    with pytest.raises(InputError, match=r"store: cannot be read as a vector store"):
        VectorStore.load(folder)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("labels", lambda values: values + 1000),
        ("labels", lambda values: values - 1000),
        ("seen.indices", lambda values: values + 1000),
        ("seen.indptr", lambda values: values - 5),
        ("weights", lambda values: values[:-1]),
        ("weights", lambda values: values * np.nan),
        ("fallback", lambda values: values[:-1]),
        ("centroids", lambda values: values[0]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(key, change, folder):
    """Also where somebody who knows the format has computed a checksum for them."""
    path = folder / "method.safetensors"
    arrays = load_file(path)
    arrays[key] = np.ascontiguousarray(change(arrays[key]))
    save_file(arrays, path)
    settings = json.loads((folder / "vectors.json").read_text())
    settings["checksums"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "vectors.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"store: cannot be read as a vector store"):
        VectorStore.load(folder)
