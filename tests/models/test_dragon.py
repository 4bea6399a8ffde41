"""DRAGON: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
from branched import compute_penalty, propagate_branch, weigh_similar_users
from reference import build_random_model, dense_adjacency, dense_knn, log_sigmoid_loss, to_array

from sgurinit.models import DRAGON
from sgurinit.testing import RecommenderTests


class TestDRAGON(RecommenderTests):
    model_class = DRAGON


def test_dragon(dataset, batch):
    model = build_random_model(DRAGON, dataset, k=4, k_users=5, reg=0.3, n_item_layers=2)
    n = dataset.n_users
    tables = [f.values.astype(float) for f in dataset.features.values()]
    adjacency = dense_adjacency(dataset)
    nodes = [
        propagate_branch(branch, table, adjacency)
        for branch, table in zip(model.branches, tables, strict=True)
    ]
    weights = to_array(model.modality_weights)
    u = np.hstack([weights[:, [m]] * x[:n] for m, x in enumerate(nodes)])
    u = u + weigh_similar_users(dataset, 5) @ u
    i = np.hstack([x[n:] for x in nodes])
    graph = 0.1 * dense_knn(tables[0], 4, False) + 0.9 * dense_knn(tables[1], 4, False)
    i = i + graph @ graph @ i
    np.testing.assert_allclose(to_array(model.embed()[0]), u, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_array(model.embed()[1]), i, rtol=1e-4, atol=1e-5)

    ranking = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    expected = ranking / np.log(2) + 0.3 * compute_penalty(model, batch.users)
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_initial_weights_of_the_modalities_are_near_equal(dataset):
    weights = to_array(DRAGON(dataset).modality_weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert np.abs(weights - 0.5).max() < 0.3
    assert weights.std() > 0
