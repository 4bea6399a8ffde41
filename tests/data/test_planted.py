from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from sgurinit.data import Dataset, plant, planted
from sgurinit.errors import InputError

SEEDS = [0, 1, 2]


@pytest.fixture(scope="module", params=SEEDS)
def data(request):
    return plant(seed=request.param)


def recall_at_20(dataset: Dataset, score) -> float:
    """Mean share of a user's test items among the 20 best that are not in training."""
    recalls = []
    for user in np.unique(dataset.test.users):
        scores = np.array(score(user), dtype=float)
        scores[dataset.train.items[dataset.train.users == user]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:20]
        wanted = dataset.test.items[dataset.test.users == user]
        recalls.append(np.isin(wanted, best).mean())
    return float(np.mean(recalls))


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data():
    prints = [planted(100, 80, n_topics=8, seed=seed).fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_sizes_names_and_ids_are_as_requested():
    dataset = planted(123, 77, n_topics=5, seed=4)
    assert (dataset.n_users, dataset.n_items) == (123, 77)
    assert (dataset.name, dataset.layout) == ("planted", "planted")
    assert dataset.user_ids[[0, 122]].tolist() == ["u0000", "u0122"]
    assert dataset.item_ids[[0, 76]].tolist() == ["i0000", "i0076"]
    shapes = {m: f.values.shape for m, f in dataset.features.items()}
    assert shapes == {"image": (77, 64), "text": (77, 32)}
    assert all(f.values.dtype == np.float32 for f in dataset.features.values())


def test_user_degrees_are_long_tailed(data):
    degrees = np.bincount(data.dataset.train.users, minlength=data.dataset.n_users)
    assert 1 <= np.median(degrees) <= 2
    assert 3.5 <= degrees.mean() <= 5
    assert degrees.max() >= 20 * degrees.mean()


def test_item_degrees_are_long_tailed(data):
    degrees = data.dataset.popularity()
    assert np.median(degrees) < degrees.mean()
    assert degrees.max() > 5 * degrees.mean()


def test_a_few_users_have_no_training_interaction_and_all_others_have_one(data):
    dataset = data.dataset
    degrees = np.bincount(dataset.train.users, minlength=dataset.n_users)
    without = np.flatnonzero(degrees == 0)
    assert len(without) == 10
    assert np.isin(without, dataset.test.users).all()


def test_splits_are_eight_to_one_to_one(data):
    sizes = np.array([len(pairs) for _, pairs in data.dataset.splits()])
    shares = sizes / sizes.sum()
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.015)


def test_a_tenth_of_the_items_is_cold_and_is_tested(data):
    dataset = data.dataset
    cold = np.flatnonzero(dataset.popularity() == 0)
    assert 0.1 * dataset.n_items <= len(cold) <= 0.15 * dataset.n_items
    assert 0.05 <= np.isin(dataset.test.items, cold).mean() <= 0.15
    assert np.isin(dataset.valid.items, cold).any()


def test_the_ceiling_is_the_recall_of_the_truth(data):
    scores = data.scores()
    assert data.ceiling() == pytest.approx(recall_at_20(data.dataset, lambda user: scores[user]))


def test_the_truth_ranks_far_better_than_popularity(data):
    scores = data.scores()
    popularity = data.dataset.popularity()
    oracle = recall_at_20(data.dataset, lambda user: scores[user])
    popular = recall_at_20(data.dataset, lambda user: popularity)
    assert oracle > 0.55
    assert oracle > 5 * popular


def test_content_predicts_what_users_choose(data):
    values = data.dataset.features["text"].values.astype(float)
    values -= values.mean(axis=0)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    profiles = data.dataset.train_matrix() @ values
    popularity = data.dataset.popularity()
    content = recall_at_20(data.dataset, lambda user: values @ profiles[user])
    assert content > 2 * recall_at_20(data.dataset, lambda user: popularity)


def test_items_are_mostly_of_one_topic_and_mixtures_sum_to_one(data):
    for topics in (data.user_topics, data.item_topics):
        np.testing.assert_allclose(topics.sum(axis=1), 1.0)
    assert data.item_topics.max(axis=1).min() >= 0.85


def test_features_depend_on_the_topics_and_text_more_than_image(data):
    truth = data.item_topics.argmax(axis=1)
    found = {}
    for modality, feature in data.dataset.features.items():
        labels = KMeans(30, n_init=2, random_state=0).fit_predict(feature.values)
        found[modality] = normalized_mutual_info_score(truth, labels)
    assert 0.5 < found["text"] < 0.8
    assert found["image"] < 0.9 * found["text"]


def test_raw_features_share_a_dominant_direction_as_tiktoks_do(data):
    ratio = {}
    for modality, feature in data.dataset.features.items():
        values = feature.values.astype(float)
        ratio[modality] = (
            np.linalg.norm(values.mean(axis=0)) / np.linalg.norm(values, axis=1).mean()
        )
    assert ratio["image"] == pytest.approx(0.92, abs=0.03)  # TikTok image: 30.6 / 33.1
    assert 0.4 < ratio["text"] < 0.7  # TikTok audio: 2.1 / 4.5


def test_scores_of_some_users_are_rows_of_all_scores(data):
    users = np.array([3, 1])
    np.testing.assert_allclose(data.scores(users), data.scores()[users])


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"n_users": 9}, "n_users is 9, expected an integer of at least 10"),
        ({"n_items": 39}, "n_items is 39, expected an integer of at least 40"),
        ({"n_topics": 0}, "n_topics is 0"),
        ({"n_items": 50, "n_topics": 51}, "expected at most n_items"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "0"}, "seed is '0'"),
        ({"n_users": 20.5}, "n_users is 20.5"),
    ],
)
def test_sizes_out_of_range_are_refused(sizes, says):
    with pytest.raises(InputError, match=says):
        planted(**sizes)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_size_is_a_valid_dataset(seed):
    dataset = planted(10, 40, n_topics=1, seed=seed)
    assert len(dataset.train) > 0
    assert (dataset.popularity() == 0).sum() >= 4
