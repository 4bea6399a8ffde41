from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data import Dataset, Interactions
from sgurinit.errors import InputError

PAIR_LISTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=40)


def interactions(pairs: list[tuple[int, int]]) -> Interactions:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Interactions(array[:, 0], array[:, 1])


@given(PAIR_LISTS)
def test_interactions_are_the_sorted_set_of_the_pairs(pairs):
    result = interactions(pairs)
    assert list(zip(result.users, result.items, strict=True)) == sorted(set(pairs))
    assert result.duplicates == len(pairs) - len(set(pairs))
    assert len(result) == len(set(pairs))


@given(PAIR_LISTS)
def test_matrix_is_one_exactly_at_the_pairs(pairs):
    dense = np.zeros((7, 9), dtype=np.float32)
    for user, item in pairs:
        dense[user, item] = 1.0
    matrix = interactions(pairs).matrix(7, 9)
    assert matrix.dtype == np.float32
    assert matrix.has_sorted_indices
    np.testing.assert_array_equal(matrix.toarray(), dense)


def test_positions_may_be_tensors():
    torch = pytest.importorskip("torch")
    pairs = Interactions(torch.tensor([1, 0]), torch.tensor([2, 3], dtype=torch.int32))
    assert pairs.users.tolist() == [0, 1]
    assert pairs.items.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("users", "items", "says"),
    [
        ([0, 1], [0], "2 users but 1 items"),
        ([[0]], [[0]], "users must be 1-D"),
        ([0.0], [0], "users must be integer positions, not float64"),
        ([True], [0], "users must be integer positions, not bool"),
        ([0], [-1], "items[0] is -1; positions begin at 0"),
        (np.array([2**63], dtype=np.uint64), [0], "too large for a position"),
        (None, [0], "users must be 1-D"),
        ("u", [0], "users must be 1-D"),
        ([[0], [0, 1]], [0], "users is of type list, which cannot be read"),
        (np.ma.masked_equal([1, 2], 2), [0, 1], "users is a masked array"),
    ],
)
def test_unusable_pairs_are_refused(users, items, says):
    with pytest.raises(InputError) as error:
        Interactions(users, items)
    assert says in str(error.value)


def test_arrays_cannot_be_changed_through_the_dataset(make_dataset):
    present = np.array([True, True, True, True, False])
    values = np.ones((5, 2), dtype=np.float32)
    dataset = make_dataset(features={"text": ItemFeatures(values, present)})
    arrays = [dataset.user_ids, dataset.item_ids, dataset.train.users, dataset.test.items]
    arrays += [dataset.features["text"].values, dataset.features["text"].present]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(TypeError):
        dataset.features["image"] = dataset.features["text"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"
    values[0, 0] = 2.0  # the caller's own array stays writeable
    assert values.flags.writeable
    assert present.flags.writeable


@pytest.mark.parametrize("again", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])  # noqa: S301
def test_a_copy_is_equal_and_read_only(make_dataset, again):
    dataset = make_dataset(train=interactions([(0, 0), (0, 0), (1, 1)]))
    other = again(dataset)
    assert other.fingerprint == dataset.fingerprint
    assert other.train.duplicates == 1
    for array in (other.train.users, other.item_ids, other.features["text"].values):
        assert not array.flags.writeable


def test_counts_follow_the_ids_and_popularity_the_training_split(make_dataset):
    dataset = make_dataset()
    assert (dataset.n_users, dataset.n_items) == (4, 5)
    assert dataset.train_matrix().shape == (4, 5)
    np.testing.assert_array_equal(dataset.popularity(), [1, 2, 0, 1, 0])
    assert dataset.popularity().dtype == np.int64


def test_plain_arrays_are_accepted_as_features(make_dataset):
    dataset = make_dataset(features={"text": np.ones((5, 2))})
    assert isinstance(dataset.features["text"], ItemFeatures)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": interactions([])}, "train has no interaction"),
        ({"train": interactions([(4, 0)])}, "train: user 4 is out of range; allowed are 0 to 3"),
        ({"test": interactions([(0, 5)])}, "test: item 5 is out of range; allowed are 0 to 4"),
        (
            {"test": interactions([(1, 1), (3, 3)]), "user_ids": ["a", "b", "c", "d"]},
            "1 pairs are in both train and test, for example user b with item 1",
        ),
        ({"valid": interactions([(2, 0)])}, "in both valid and test"),
        ({"valid": interactions([(0, 0)])}, "in both train and valid"),
        ({"features": {"image": np.ones((4, 2))}}, "has 4 rows but there are 5 items"),
        ({"features": {"../image": np.ones((5, 2))}}, "modality name '../image'"),
        ({"features": {"a b": np.ones((5, 2))}}, "modality name 'a b'"),
        ({"features": {"image": np.ones((5, 2), dtype=int)}}, "int64"),
        ({"features": np.ones((5, 2))}, "features must be a non-empty mapping"),
        ({"features": None}, "features must be a non-empty mapping"),
        ({"train": np.ones((2, 2), dtype=int)}, "train is of type ndarray, expected Interactions("),
        ({"test": None}, "test is of type NoneType, expected Interactions("),
        ({"user_ids": ["a", "b", "a", "c"]}, "user_ids: a is repeated"),
        ({"item_ids": np.ones((5, 1))}, "item_ids must be one-dimensional"),
        ({"item_ids": [0.5, 1, 2, 3, 4]}, "item_ids, row 0: 0.5 cannot be an id"),
        ({"item_ids": np.arange(5, dtype=np.uint64) + 2**63}, "item_ids holds 9223372036854775808"),
        ({"item_ids": ["a", "a\0", "b", "c", "d"]}, "item_ids, row 1: id 'a\\x00' ends with a NUL"),
    ],
)
def test_inconsistent_data_is_refused(make_dataset, changes, says):
    with pytest.raises(InputError) as error:
        make_dataset(**changes)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_ids_may_be_strings_in_an_object_array(make_dataset):
    ids = np.array(["a", "bcd", "e", "f"], dtype=object)
    assert make_dataset(user_ids=ids).user_ids.tolist() == ids.tolist()


def changed(dataset: Dataset) -> dict[str, Any]:
    image, text = (dataset.features[m] for m in ("image", "text"))
    bumped = text.values.copy()
    bumped[4, 1] = np.nextafter(bumped[4, 1], np.float32(9))
    missing = np.array([True] * 4 + [False])
    return {
        "a training pair more": {"train": interactions([(0, 0), (0, 1), (1, 1), (2, 3), (3, 3)])},
        "a pair in another split": {
            "valid": interactions([]),
            "test": interactions([(0, 2), (1, 4), (2, 0)]),
        },
        "a user id": {"user_ids": np.array([0, 1, 2, 9])},
        "ids as text": {"user_ids": np.array(["0", "1", "2", "3"])},
        "a user more": {"user_ids": np.arange(5)},
        "an item id": {"item_ids": np.array([0, 1, 2, 3, 9])},
        "one bit of one feature": {"features": {"image": image, "text": bumped}},
        "the type of features": {
            "features": {"image": image.values.astype(np.float32), "text": text}
        },
        "the name of a modality": {"features": {"image": image, "words": text}},
        "names swapped": {"features": {"image": text, "text": image}},
        "a modality less": {"features": {"text": text}},
        "a missing row": {"features": {"image": image, "text": ItemFeatures(bumped, missing)}},
    }


def test_fingerprint_changes_with_any_change(make_dataset):
    dataset = make_dataset()
    prints = {what: make_dataset(**new).fingerprint for what, new in changed(dataset).items()}
    prints["nothing"] = dataset.fingerprint
    assert len(set(prints.values())) == len(prints)


def test_fingerprint_only_depends_on_the_content(make_dataset):
    dataset = make_dataset()
    image, text = (dataset.features[m].values for m in ("image", "text"))
    wide = np.zeros((5, 4), dtype=np.float32)
    wide[:, ::2] = text
    same = make_dataset(
        name="other",
        layout="native",
        train=interactions([(2, 3), (1, 1), (0, 1), (0, 0), (1, 1)]),
        features={
            "text": ItemFeatures(wide[:, ::2], np.ones(5, dtype=bool)),
            "image": np.asfortranarray(image.astype(">f2")),
        },
        user_ids=np.arange(4, dtype=np.uint8),
    )
    assert same.fingerprint == dataset.fingerprint
    assert list(same.features) == ["image", "text"]


def test_fingerprint_ignores_the_values_of_missing_rows(make_dataset):
    present = np.array([True, False, True, True, True])
    prints = set()
    for filler in (0.0, np.nan):
        values = np.ones((5, 2))
        values[1] = filler
        prints.add(make_dataset(features={"text": ItemFeatures(values, present)}).fingerprint)
    assert len(prints) == 1
