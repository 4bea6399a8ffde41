from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from load_error import load_error

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data import Dataset, Interactions, load_dataset, write_native
from sgurinit.errors import InputError

IDS = st.one_of(
    st.lists(st.text(min_size=1).filter(lambda t: "\x00" not in t), unique=True, min_size=1),
    st.lists(st.integers(-(2**62), 2**62), unique=True, min_size=1),
)


@st.composite
def datasets(draw) -> Dataset:
    user_ids, item_ids = draw(IDS), draw(IDS)
    n_users, n_items = len(user_ids), len(item_ids)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    split = rng.choice(4, size=(n_users, n_items), p=[0.4, 0.3, 0.15, 0.15])
    split[rng.integers(n_users), rng.integers(n_items)] = 1
    present = rng.random(n_items) < 0.7
    present[rng.integers(n_items)] = True
    dtypes = draw(st.lists(st.sampled_from(["f2", "f4", "f8"]), min_size=1, max_size=3))
    features = {
        f"m{n}": ItemFeatures(rng.normal(size=(n_items, n + 1)).astype(dtype), present)
        for n, dtype in enumerate(dtypes)
    }
    train, valid, test = (Interactions(*np.nonzero(split == s)) for s in (1, 2, 3))
    return Dataset("any", "memory", train, valid, test, features, user_ids, item_ids)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(datasets())
def test_a_written_data_set_reads_back_the_same(tmp_path_factory, dataset):
    path = write_native(dataset, tmp_path_factory.mktemp("round") / "data")
    again = load_dataset(path)
    assert again.fingerprint == dataset.fingerprint
    assert (again.name, again.layout) == ("any", "native")
    assert again.user_ids.tolist() == dataset.user_ids.tolist()
    for modality, feature in dataset.features.items():
        read = again.features[modality]
        np.testing.assert_array_equal(read.mask(), feature.mask())
        np.testing.assert_array_equal(read.rows(), feature.rows())


def test_tiktok_survives_the_round_trip(tiktok_path, tmp_path):
    dataset = load_dataset(tiktok_path)
    again = load_dataset(write_native(dataset, tmp_path / "tiktok"))
    assert again.fingerprint == dataset.fingerprint
    for (_, one), (_, other) in zip(dataset.splits(), again.splits(), strict=True):
        np.testing.assert_array_equal(one.users, other.users)
        np.testing.assert_array_equal(one.items, other.items)
    for modality, feature in dataset.features.items():
        np.testing.assert_array_equal(again.features[modality].values, feature.values)
        assert again.features[modality].values.dtype == feature.values.dtype


@pytest.fixture
def folder(make_dataset, tmp_path):
    dataset = make_dataset(
        user_ids=["ann", "bob", "cid", "dee"], item_ids=["v", "w", "x", "y", "z"]
    )
    return write_native(dataset, tmp_path / "data")


def test_rows_of_the_interactions_may_be_in_any_order(folder):
    expected = load_dataset(folder).fingerprint
    path = folder / "interactions.parquet"
    pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    assert load_dataset(folder).fingerprint == expected


def test_a_row_of_nan_marks_an_item_without_features(folder):
    values = np.ones((5, 3))
    values[2] = np.nan
    np.save(folder / "features" / "image.npy", values)
    feature = load_dataset(folder).features["image"]
    assert feature.mask().tolist() == [True, True, False, True, True]


def test_no_other_file_is_left_next_to_the_folder(folder):
    assert list(folder.parent.iterdir()) == [folder]


def test_an_existing_folder_is_not_touched(folder, make_dataset):
    before = load_dataset(folder).fingerprint
    with pytest.raises(InputError, match="exists already"):
        write_native(make_dataset(), folder)
    assert load_dataset(folder).fingerprint == before


def test_an_empty_folder_is_filled(tmp_path, make_dataset):
    (tmp_path / "empty").mkdir()
    write_native(make_dataset(), tmp_path / "empty")
    assert load_dataset(tmp_path / "empty").fingerprint == make_dataset().fingerprint


def test_a_failed_write_leaves_no_file(tmp_path, make_dataset, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        write_native(make_dataset(), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "dataset.json",
        "users.parquet",
        "items.parquet",
        "interactions.parquet",
        "features/image.npy",
    ],
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert load_error(folder) == f"{folder / name}: file is missing"


@pytest.mark.parametrize("name", ["users.parquet", "interactions.parquet"])
def test_truncated_parquet_gives_a_one_line_error(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for length in (0, 3, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert load_error(folder).startswith(f"{path}: not a complete Parquet file")


@pytest.mark.parametrize(
    ("name", "table", "says"),
    [
        ("interactions", {"user": ["ann"], "item": ["w"]}, "column split is missing"),
        (
            "interactions",
            {"user": ["ann", "eve"], "item": ["v", "v"], "split": ["train"] * 2},
            "row 1: user id eve is not one of the 4 ids in users.parquet",
        ),
        (
            "interactions",
            {"user": ["ann", "bob"], "item": ["v", "q"], "split": ["train"] * 2},
            "row 1: item id q is not one of the 5 ids in items.parquet",
        ),
        (
            "interactions",
            {"user": ["ann", None], "item": ["v", "w"], "split": ["train"] * 2},
            "row 1: user is missing",
        ),
        (
            "interactions",
            {"user": [0], "item": ["v"], "split": ["train"]},
            "user is Int64 but String in users.parquet",
        ),
        (
            "interactions",
            {"user": ["ann"] * 2, "item": ["v", "w"], "split": ["train", "dev"]},
            "row 1: split is 'dev'; allowed are train, valid, test",
        ),
        (
            "interactions",
            {"user": ["ann"], "item": ["v"], "split": ["test"]},
            "train has no interaction",
        ),
        (
            "interactions",
            {"user": ["ann"] * 2, "item": ["v"] * 2, "split": ["train", "test"]},
            "in both train and test, for example user ann with item v",
        ),
        ("users", {"user": ["ann", "bob", "ann"]}, "row 2: user id 'ann' is repeated"),
        ("users", {"user": [0.5, 1.5]}, "column user is Float64; ids are text or integers"),
        ("users", {"name": ["ann"]}, "column user is missing; the file has 'name'"),
        ("items", {"item": ["v", "w", "x", "y"]}, "not one of the 4 ids in items.parquet"),
    ],
)
def test_a_faulty_table_is_refused(folder, name, table, says):
    pl.DataFrame(table).write_parquet(folder / f"{name}.parquet")
    message = load_error(folder)
    assert message.startswith(str(folder))
    assert says in message


def test_features_of_another_number_of_items_are_refused(folder):
    np.save(folder / "features" / "text.npy", np.ones((4, 2)))
    assert "text.npy: 4 rows but the data has 5 items" in load_error(folder)


def test_a_row_that_is_partly_nan_is_an_error(folder):
    values = np.ones((5, 3))
    values[2, 1] = np.nan
    np.save(folder / "features" / "image.npy", values)
    assert "image.npy: row 2, column 1 is nan" in load_error(folder)


def test_a_modality_without_any_row_is_an_error(folder):
    np.save(folder / "features" / "image.npy", np.full((5, 3), np.nan))
    assert "image.npy: no item has a row" in load_error(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version: "),
        ({"format": "other"}, "format: "),
        ({"modalities": ["../../image"]}, "modalities.0: "),
        ({"color": "red"}, "color: Extra inputs are not permitted"),
        ({"name": ""}, "name: "),
    ],
)
def test_a_faulty_manifest_names_the_field(folder, change, says):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    message = load_error(folder)
    assert message.startswith(f"{path}: {says}")


def test_a_manifest_that_is_not_json_is_refused(folder):
    (folder / "dataset.json").write_text("{")
    assert load_error(folder).startswith(f"{folder / 'dataset.json'}: the file: Invalid JSON")
