"""The start equals a slow float64 reference for every combination of options."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from sgurinit.core import SGURInit
from sgurinit.core.params import PRESETS
from sgurinit.core.steps.joint import compute_content_items

WEIGHTS = (0.0, 0.1, 0.5, 1.0)
PREPROCESSING = ((), ("center",), ("center", "unit"), ("whiten",), ("unit", "center", "whiten"))
CASES = ("small", "gappy", "planted_case", pytest.param("tiktok_case", marks=pytest.mark.slow))
WIDTHS = {"small": 5, "gappy": 7, "planted_case": 16, "tiktok_case": 64}


def expected_parts(case, reference, start, modality, options):
    """Reference parts of a space, computed once per space and options."""
    preprocess, norm = options

    def compute():
        if modality == "joint":
            dim = start.config["joint_dim"]
            rows, present = case.once(("joint", dim), lambda: reference.content(case.features, dim))
            clusters = start.joint(dim).clusters
        else:
            table = case.features[modality]
            key = ("preprocess", modality, preprocess)
            rows = case.once(key, lambda: reference.preprocess(table, preprocess))
            clusters = start.clusters[modality]
            present = clusters.labels >= 0
        return reference.parts(case.baskets, rows, present, clusters.labels, norm)

    return case.once(("parts", modality, preprocess, norm), compute)


@pytest.mark.parametrize("local_norm", ["sym", "mean"])
@pytest.mark.parametrize("preprocess", PREPROCESSING, ids="-".join)
@pytest.mark.parametrize("name", CASES)
def test_start_equals_the_reference(name, preprocess, local_norm, reference, quick, request):
    case = request.getfixturevalue(name)
    width = WIDTHS[name]
    for local_weight in WEIGHTS:
        estimator = SGURInit(
            n_clusters=5,
            local_weight=local_weight,
            local_norm=local_norm,
            preprocess=preprocess,
            joint_dim=width,
            random_state=0,
        )
        start = estimator.fit(case.matrix, case.features).start_
        found = dict(start.users) | {"joint": start.joint(width).users}
        for modality, users in found.items():
            options = (preprocess if modality != "joint" else (), local_norm)
            local, cluster = expected_parts(case, reference, start, modality, options)
            reference.assert_close(users, local_weight * local + (1 - local_weight) * cluster)


@pytest.mark.parametrize("name", CASES)
def test_asking_for_a_joint_space_changes_nothing_else(name, quick, request):
    case = request.getfixturevalue(name)
    plain = SGURInit(n_clusters=5, random_state=0).fit(case.matrix, case.features).start_
    joined = SGURInit(n_clusters=5, joint_dim=WIDTHS[name], random_state=0)
    start = joined.fit(case.matrix, case.features).start_
    for modality, users in plain.users.items():
        np.testing.assert_array_equal(start.users[modality], users)
    later = plain.joint(WIDTHS[name])
    np.testing.assert_array_equal(start.joint(WIDTHS[name]).users, later.users)


@pytest.mark.parametrize("name", CASES)
def test_centroids_are_the_exact_means_of_their_members(name, reference, quick, request):
    case = request.getfixturevalue(name)
    start = SGURInit(n_clusters=5, random_state=0).fit(case.matrix, case.features).start_
    for modality, clusters in start.clusters.items():
        rows = reference.preprocess(case.features[modality], ())
        reference.assert_close(clusters.centroids, reference.centroids(rows, clusters.labels))
        assert clusters.labels.dtype == np.int32
        assert clusters.centroids.dtype == start.users[modality].dtype == np.float32


@pytest.mark.parametrize("name", CASES)
def test_every_item_is_in_the_cluster_of_its_nearest_centroid(name, reference, quick, request):
    # K-means stops when the squared shift is below 1e-4 of the variance: nearest up to that.
    case = request.getfixturevalue(name)
    start = SGURInit(n_clusters=5, random_state=0).fit(case.matrix, case.features).start_
    for modality, clusters in start.clusters.items():
        rows = reference.preprocess(case.features[modality], ())
        there = clusters.labels >= 0
        distances = np.linalg.norm(rows[there][:, None] - clusters.centroids[None], axis=2)
        own = distances[np.arange(there.sum()), clusters.labels[there]]
        spread = np.sqrt(rows[there].var(axis=0).sum())
        assert (own - distances.min(axis=1)).max() <= 0.02 * spread


@pytest.mark.parametrize("name", CASES)
def test_joint_items_equal_the_reference(name, reference, request):
    case = request.getfixturevalue(name)
    dim = WIDTHS[name]
    items, present = compute_content_items(case.features, dim)
    compute = functools.partial(reference.content, case.features, dim)
    expected, anywhere = case.once(("joint", dim), compute)
    np.testing.assert_array_equal(present, anywhere)
    scale = np.linalg.norm(expected, axis=1).mean()
    assert np.abs(items - expected).max() <= 1e-6 * scale


def test_local_part_of_joint_items_is_the_joint_local_part(planted_case):
    # (A F) P = A (F P): every step but K-means is linear.
    table = planted_case.features["text"]
    projection = np.random.default_rng(0).normal(size=(table.width, 4))
    start = SGURInit(n_clusters=4, local_weight=1.0, random_state=0).fit(
        planted_case.matrix, planted_case.features
    )
    first = start.start_.on(table.values @ projection)
    after = start.start_.users["text"].astype(np.float64) @ projection
    busy = np.diff(planted_case.matrix.indptr) > 0
    np.testing.assert_allclose(first[busy], after[busy], rtol=1e-4, atol=1e-5)


def test_joint_users_are_the_start_on_the_joint_items(gappy):
    start = SGURInit(n_clusters=4, random_state=0).fit(gappy.matrix, gappy.features).start_
    joint = start.joint(6)
    present = np.logical_or.reduce([table.present for table in gappy.features.values()])
    present |= joint.items.any(axis=1)  # used, though without a row
    np.testing.assert_array_equal(start.on(joint.items, present=present), joint.users)
    assert start.joint(6).users is joint.users


def test_start_on_the_features_themselves_is_the_start(gappy):
    start = SGURInit(n_clusters=4, random_state=0).fit(gappy.matrix, gappy.features).start_
    for modality, table in gappy.features.items():
        users = start.on(table.values, present=table.present)
        np.testing.assert_array_equal(users, start.users[modality])


def test_a_hand_computed_example():
    # Items at 0, 2 and 10; two clusters {0, 2} and {10}: centroids 1 and 10.
    interactions = np.array([[0, 0], [0, 2], [1, 2], [2, 1], [2, 1]])
    features = {"one": np.array([[0.0], [2.0], [10.0]])}
    estimator = SGURInit(n_clusters=2, local_weight=0.25, local_norm="sym", random_state=0)
    start = estimator.fit(interactions, features).start_
    local = [10 / np.sqrt(2 * 2), 10 / np.sqrt(1 * 2), 2 / np.sqrt(1 * 1)]
    cluster = [(1 + 10) / 2, 10, 1]
    expected = 0.25 * np.array(local) + 0.75 * np.array(cluster)
    np.testing.assert_allclose(start.users["one"][:, 0], expected, rtol=1e-6)
    assert start.diagnostics.duplicate_interactions == 1


def test_the_figure_for_three_users_by_hand():
    # The authors' figure: per modality, a user is the average over their items i of the item and
    # the nearest cluster center, i + c. Two text clusters: {tea, cup}, center (1, 2), and {pot},
    # center (8, 0). Image: {tea}, center (0,), and {cup, pot}, center (5,).
    tea, cup, pot = 0, 1, 2
    interactions = np.array([[0, tea], [0, cup], [1, pot], [2, tea], [2, cup], [2, pot]])
    features = {
        "text": np.array([[0.0, 2.0], [2.0, 2.0], [8.0, 0.0]]),
        "image": np.array([[0.0], [4.0], [6.0]]),
    }
    start = SGURInit(n_clusters=2, random_state=0).fit(interactions, features).start_
    figure = {  # the mean of i + c
        "text": [
            [((0 + 1) + (2 + 1)) / 2, ((2 + 2) + (2 + 2)) / 2],
            [8 + 8, 0 + 0],
            [((0 + 1) + (2 + 1) + (8 + 8)) / 3, ((2 + 2) + (2 + 2) + (0 + 0)) / 3],
        ],
        "image": [
            [((0 + 0) + (4 + 5)) / 2],
            [6 + 5],
            [((0 + 0) + (4 + 5) + (6 + 5)) / 3],
        ],
    }
    for modality, expected in figure.items():
        # Equal weights of one half each: the figure's sum up to the factor 2.
        np.testing.assert_allclose(2 * start.users[modality], expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("case_name", ["gappy", "planted_case"])
def test_every_preset_equals_the_dense_reference(name, case_name, reference, quick, request):
    case = request.getfixturevalue(case_name)
    width = WIDTHS[case_name]
    estimator = SGURInit.from_preset(name, n_clusters=5, joint_dim=width, random_state=0)
    if estimator.collaborative:
        # No approximation, and no search.
        estimator.set_params(
            collaborative_rank=case.matrix.shape[1], penalty=30.0, content_weight=0.3
        )
    start = estimator.fit(case.matrix, case.features).start_
    config = start.config
    for modality, users in (dict(start.users) | {"joint": start.joint(width).users}).items():
        if modality == "joint":
            clusters = start.joint(width).clusters
            if config["collaborative"]:
                facts = start.diagnostics
                rows, present = reference.joint(case, width, facts.penalty, facts.content_weight)
            else:
                rows, present = reference.content(case.features, width)
        else:
            clusters = start.clusters[modality]
            rows, present = reference.preprocess(case.features[modality], ()), clusters.labels >= 0
        parts = reference.parts(case.baskets, rows, present, clusters.labels, config["local_norm"])
        weight = config["local_weight"]
        # Directions have no sign to agree on, so inner products are compared.
        mixed = weight * parts[0] + (1 - weight) * parts[1]
        reference.assert_close(users @ users.T.astype(np.float64), mixed @ mixed.T, 1e-4)


def test_the_published_preset_is_the_default():
    assert SGURInit.from_preset("published").get_params() == SGURInit().get_params()
