"""Items are held out of training."""

from __future__ import annotations

import numpy as np
import pytest

from sgurinit.data import Dataset, hold_out_items, load_dataset, planted
from sgurinit.errors import InputError


@pytest.fixture(scope="module")
def small() -> Dataset:
    return planted(120, 80, n_topics=6)


def pairs(dataset: Dataset, *splits: str) -> set[tuple[int, int]]:
    chosen = [part for name, part in dataset.splits() if name in splits]
    return {pair for part in chosen for pair in zip(part.users, part.items, strict=True)}


def test_held_out_items_are_in_one_split_and_all_others_stay(small: Dataset) -> None:
    cold = hold_out_items(small, 0.2, seed=1)
    trained = np.flatnonzero(small.popularity())
    chosen = trained[cold.popularity()[trained] == 0]
    assert len(chosen) == round(0.2 * len(trained))
    every = ("train", "valid", "test")
    assert pairs(cold, *every) == pairs(small, *every)
    held = set(chosen.tolist())
    for split in every:
        stayed = {pair for pair in pairs(small, split) if pair[1] not in held}
        assert stayed == {pair for pair in pairs(cold, split) if pair[1] not in held}
    in_valid = {item for _, item in pairs(cold, "valid")} & held
    in_test = {item for _, item in pairs(cold, "test")} & held
    assert not in_valid & in_test
    assert in_valid | in_test == held
    assert abs(len(in_valid) - len(in_test)) <= 1
    for modality, table in small.features.items():
        assert np.shares_memory(cold.features[modality].values, table.values)
    assert cold.name == "planted, 0.2 cold (seed 1)"


def test_the_choice_depends_on_the_seed(small: Dataset) -> None:
    one = hold_out_items(small, 0.2, seed=1).fingerprint
    assert one == hold_out_items(small, 0.2, seed=1).fingerprint
    assert one != hold_out_items(small, 0.2, seed=2).fingerprint
    assert one != small.fingerprint


@pytest.mark.parametrize(
    ("share", "message"), [(0, "is 0, expected"), (1.0, "is 1.0, expected"), (0.01, "at least two")]
)
def test_bad_shares_are_refused(small: Dataset, share: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        hold_out_items(small, share)


def test_items_of_tiktok_are_held_out(tiktok_path) -> None:
    data = load_dataset(tiktok_path)
    cold = hold_out_items(data, 0.1)
    assert sum(len(p) for _, p in cold.splits()) == sum(len(p) for _, p in data.splits())
    assert (cold.popularity()[cold.test.items] == 0).any()
