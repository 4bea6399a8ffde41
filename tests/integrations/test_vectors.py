"""The vector store: the nearest items of known and of new users."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sgurinit.core.start import UserStart
from sgurinit.errors import InputError
from sgurinit.integrations.vectors import INDEX_LIBRARIES, VectorStore

WIDTH = 12


@pytest.fixture(params=sorted(INDEX_LIBRARIES))
def index(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@pytest.fixture
def store(start, index):
    return VectorStore.from_start(start, WIDTH, index=index)


def nearest_by_sorting(row, items, left_out, k):
    cosines = items @ row / np.linalg.norm(items, axis=1) / np.linalg.norm(row)
    order = [at for at in np.argsort(-cosines, kind="stable") if at not in left_out]
    return order[:k], cosines[order[:k]]


def test_the_nearest_items_are_those_of_the_largest_cosine(store, start, data):
    joint = start.joint(WIDTH)
    for user in (0, 17, 89):
        own = set(data.train.items[data.train.users == user].tolist())
        order, cosines = nearest_by_sorting(joint.users[user], joint.items, own, 5)
        found = store.find_for_user(data.user_ids[user], 5)
        assert found.items == data.item_ids[order].tolist()
        np.testing.assert_allclose(found.cosines, cosines, atol=1e-5)
        order, _ = nearest_by_sorting(joint.users[user], joint.items, set(), 5)
        assert (
            store.find_for_user(data.user_ids[user], 5, exclude_known=False).items
            == data.item_ids[order].tolist()
        )


def test_a_new_user_with_the_clicks_of_a_known_one_has_the_same_vector(store, start, data):
    for user in (3, 40):
        clicks = data.item_ids[data.train.items[data.train.users == user]].tolist()
        joint = start.joint(WIDTH)
        np.testing.assert_allclose(store.compute_user(clicks), joint.users[user], atol=1e-5)
        assert store.find_for_clicks(clicks).items == store.find_for_user(data.user_ids[user]).items


def test_a_saved_store_gives_the_same_answers(store, start, tmp_path, index):
    store.save(tmp_path / "store")
    again = VectorStore.load(tmp_path / "store")
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
        (lambda v: v.find_for_user("u0000", 0), "k is 0"),
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
    start.save(tmp_path / "start.safetensors")
    with pytest.raises(InputError, match="no interactions"):
        VectorStore.from_start(UserStart.load(tmp_path / "start.safetensors"), index=index)
