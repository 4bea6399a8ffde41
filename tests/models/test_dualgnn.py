"""DualGNN: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
from branched import compute_penalty, propagate_branch, weigh_similar_users
from reference import build_random_model, dense_adjacency, log_sigmoid_loss, to_array

from sgurinit.models import DualGNN
from sgurinit.testing import RecommenderTests


class TestDualGNN(RecommenderTests):
    model_class = DualGNN


def test_dualgnn(dataset, batch):
    model = build_random_model(DualGNN, dataset, k_users=5, reg=0.3)
    n = dataset.n_users
    adjacency = dense_adjacency(dataset)
    weights = to_array(model.modality_weights)
    u, i = np.zeros((n, 4)), np.zeros((dataset.n_items, 4))
    for m, (branch, table) in enumerate(
        zip(model.branches, dataset.features.values(), strict=True)
    ):
        x = propagate_branch(branch, table.values.astype(float), adjacency)
        u += weights[:, [m]] * x[:n]
        i += x[n:]
    u = u + weigh_similar_users(dataset, 5) @ u
    np.testing.assert_allclose(to_array(model.embed()[0]), u, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_array(model.embed()[1]), i, rtol=1e-4, atol=1e-5)
    ranking = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    expected = ranking / np.log(2) + 0.3 * compute_penalty(model, batch.users)
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)
