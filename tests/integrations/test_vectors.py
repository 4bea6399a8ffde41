"""Vectors in an index and in Parquet: the nearest items, for users known and new."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import polars as pl
import pytest

from sgurinit.core import SGURInit
from sgurinit.core.start import UserStart
from sgurinit.data import load_dataset
from sgurinit.errors import InputError
from sgurinit.integrations.vectors import BACKENDS, Vectors

WIDTH = 12


@pytest.fixture(params=sorted(BACKENDS))
def index(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@pytest.fixture
def vectors(start, index):
    return Vectors.of(start, WIDTH, index=index)


def slowly(row, items, left_out, k):
    cosines = items @ row / np.linalg.norm(items, axis=1) / np.linalg.norm(row)
    order = [at for at in np.argsort(-cosines, kind="stable") if at not in left_out]
    return order[:k], cosines[order[:k]]


def test_the_nearest_items_are_those_of_the_largest_cosine(vectors, start, data):
    joint = start.joint(WIDTH)
    for user in (0, 17, 89):
        own = set(data.train.items[data.train.users == user].tolist())
        order, cosines = slowly(joint.users[user], joint.items, own, 5)
        found = vectors.for_user(data.user_ids[user], 5)
        assert found.items == data.item_ids[order].tolist()
        np.testing.assert_allclose(found.cosines, cosines, atol=1e-5)
        order, _ = slowly(joint.users[user], joint.items, set(), 5)
        assert (
            vectors.for_user(data.user_ids[user], 5, seen=True).items
            == data.item_ids[order].tolist()
        )


def test_a_new_user_with_the_clicks_of_a_known_one_is_placed_where_they_are(vectors, start, data):
    for user in (3, 40):
        clicks = data.item_ids[data.train.items[data.train.users == user]].tolist()
        joint = start.joint(WIDTH)
        np.testing.assert_allclose(vectors.place(clicks), joint.users[user], atol=1e-5)
        assert vectors.for_clicks(clicks).items == vectors.for_user(data.user_ids[user]).items


def test_saved_vectors_answer_alike_and_a_lake_can_read_them(vectors, start, tmp_path, index):
    vectors.save(tmp_path / "store")
    again = Vectors.load(tmp_path / "store")
    assert again.for_user("u0005") == vectors.for_user("u0005")
    clicks = ["i0001", "i0002", "i0003", "i0004", "i0005"]
    assert again.for_clicks(clicks) == vectors.for_clicks(clicks)
    users = pl.read_parquet(tmp_path / "store" / "users.parquet")
    assert users.schema["vector"] == pl.Array(pl.Float32, WIDTH)
    np.testing.assert_array_equal(users["vector"].to_numpy(), start.joint(WIDTH).users)
    assert (tmp_path / "store" / f"items.{index}").is_file()
    with pytest.raises(InputError, match="exists already"):
        vectors.save(tmp_path / "store")


def test_a_trained_models_vectors_take_the_starts_place(start, index):
    generator = np.random.default_rng(0)
    users = generator.normal(size=(90, 4)).astype(np.float32)
    items = generator.normal(size=(60, 4)).astype(np.float32)
    vectors = Vectors.of(start, index=index, trained=(users, items))
    order, _ = slowly(users[0], items, set(), 3)
    assert vectors.for_user("u0000", 3, seen=True).items == [f"i{at:04}" for at in order]
    assert vectors.place(["i0004", "i0005"]).shape == (4,)
    with pytest.raises(InputError, match="89 rows of users"):
        Vectors.of(start, index=index, trained=(users[:89], items))
    with pytest.raises(InputError, match="59 rows"):
        Vectors.of(start, index=index, trained=(users, items[:59]))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda v: v.for_user("nobody"), "'nobody' is not known; .* for_clicks"),
        (lambda v: v.for_user("u0000", 0), "k is 0"),
        (lambda v: v.for_clicks([]), "no item was clicked"),
        (lambda v: v.for_clicks(["i0001", "x"]), r"items \['x'\] are not known"),
    ],
)
def test_questions_without_an_answer(ask, message, vectors):
    with pytest.raises(InputError, match=message):
        ask(vectors)


def test_what_is_no_store_is_refused(start, tmp_path, index):
    with pytest.raises(InputError, match="no folder of saved vectors"):
        Vectors.load(tmp_path)
    with pytest.raises(InputError, match="index is 'tree', expected one of faiss, usearch"):
        Vectors.of(start, index="tree")
    start.save(tmp_path / "start.safetensors")
    with pytest.raises(InputError, match="no interactions"):
        Vectors.of(UserStart.load(tmp_path / "start.safetensors"), index=index)


def test_real_data_is_answered_in_milliseconds(tiktok_path, index):
    start = SGURInit(random_state=0).fit(load_dataset(tiktok_path)).start_
    vectors = Vectors.of(start, index=index)
    clicks = vectors.item_ids[:5]
    vectors.for_clicks(clicks)
    times = []
    for user in vectors.user_ids[:50]:
        began = perf_counter()
        vectors.for_user(user)
        vectors.for_clicks(clicks)
        times.append(perf_counter() - began)
    # Half a millisecond on an idle machine; the bound leaves room for a busy one.
    assert np.median(times) < 0.05
