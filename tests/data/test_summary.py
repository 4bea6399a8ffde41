from __future__ import annotations

import json

import numpy as np
import pytest

from sgurinit.core.content_agreement import compute_content_agreement
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data import Interactions, load_dataset, summarize


def test_facts_of_the_small_data_set_equal_counts_by_hand(make_dataset):
    values = np.array([[3, 4], [0, 0], [2, 2], [np.nan, 1], [0, 5]])
    features = {"text": ItemFeatures(values, np.array([True, True, True, False, True]))}
    train = Interactions([0, 0, 1, 2, 2], [0, 1, 1, 3, 3])
    facts = summarize(make_dataset(train=train, features=features))
    assert (facts.n_users, facts.n_items) == (4, 5)
    assert (facts.n_train, facts.n_valid, facts.n_test, facts.duplicates) == (4, 1, 2, 1)
    assert facts.density == 4 / 20
    assert (facts.user_degree_median, facts.user_degree_mean, facts.user_degree_max) == (1, 1, 2)
    assert (facts.item_degree_median, facts.item_degree_mean, facts.item_degree_max) == (1, 0.8, 2)
    assert (facts.users_without_train, facts.items_without_train) == (1, 2)
    assert facts.test_share_on_cold_items == 0.5
    text = facts.modalities["text"]
    assert (text.width, text.dtype) == (2, "float64")
    assert text.mean_row_norm == pytest.approx((5 + 0 + np.sqrt(8) + 5) / 4)
    assert text.norm_of_mean_row == pytest.approx(np.hypot(5 / 4, 11 / 4))
    assert (text.missing_rows, text.zero_rows, text.constant_rows) == (1, 1, 1)


def test_without_test_interactions_there_is_no_share_on_cold_items(make_dataset):
    facts = summarize(make_dataset(test=Interactions([], [])))
    assert facts.test_share_on_cold_items is None


def test_facts_can_be_written_as_json(make_dataset):
    dataset = make_dataset()
    facts = json.loads(json.dumps(summarize(dataset).to_dict()))
    assert facts["fingerprint"] == dataset.fingerprint
    assert facts["modalities"]["image"]["width"] == 3
    assert facts["modalities"]["image"]["agreement"]["n_items"] == 3


def test_the_agreement_is_that_of_the_training_interactions(make_dataset):
    dataset = make_dataset()
    for name, found in summarize(dataset).modalities.items():
        expected = compute_content_agreement(dataset.train_matrix(), dataset.features[name])
        assert found.agreement == expected
        assert (expected.k, expected.value) == (2, pytest.approx(1 / 3))  # items 0 and 1 of 0, 1, 3
    alone = make_dataset(features={"text": ItemFeatures(np.eye(5), np.arange(5) == 0)})
    assert summarize(alone).modalities["text"].agreement is None


def test_float16_sums_do_not_overflow(make_dataset):
    values = np.full((5, 4), 60000, dtype=np.float16)
    text = summarize(make_dataset(features={"text": values})).modalities["text"]
    assert text.mean_row_norm == text.norm_of_mean_row == 2 * float(values[0, 0])


def test_tiktok_has_its_published_facts(tiktok_path):
    facts = summarize(load_dataset(tiktok_path))
    assert (facts.layout, facts.n_users, facts.n_items) == ("hkuds", 9308, 6710)
    assert (facts.n_train, facts.n_valid, facts.n_test) == (59541, 3051, 6130)
    assert facts.duplicates == 0
    assert (facts.user_degree_median, facts.user_degree_max) == (2, 603)
    assert facts.user_degree_mean == pytest.approx(6.4, abs=0.05)
    assert (facts.users_without_train, facts.items_without_train) == (10, 465)
    assert facts.test_share_on_cold_items == pytest.approx(0.073, abs=0.0005)
    assert {m: (f.width, f.dtype) for m, f in facts.modalities.items()} == {
        "audio": (128, "float16"),
        "image": (128, "float16"),
    }
    assert facts.modalities["image"].mean_row_norm == pytest.approx(33, abs=0.5)


def test_tiktok_popularity_reaches_its_published_recall(tiktok_path):
    dataset = load_dataset(tiktok_path)
    by_popularity = np.argsort(-dataset.popularity(), kind="stable").tolist()
    seen = {user: set() for user in range(dataset.n_users)}
    for user, item in zip(dataset.train.users, dataset.train.items, strict=True):
        seen[user].add(item)
    wanted = {}
    for user, item in zip(dataset.test.users, dataset.test.items, strict=True):
        wanted.setdefault(user, set()).add(item)
    recalls = []
    for user, items in wanted.items():
        best = []
        for item in by_popularity:
            if item not in seen[user]:
                best.append(item)
                if len(best) == 20:
                    break
        recalls.append(len(items.intersection(best)) / len(items))
    assert np.mean(recalls) == pytest.approx(0.0596, abs=0.00015)
