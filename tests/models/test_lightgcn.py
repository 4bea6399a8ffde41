"""LightGCN: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
from reference import (
    average_layers,
    build_random_model,
    dense_adjacency,
    log_sigmoid_loss,
    to_array,
)

from sgurinit.models import LightGCN
from sgurinit.testing import RecommenderTests


class TestLightGCN(RecommenderTests):
    model_class = LightGCN


def test_lightgcn(dataset, batch):
    model = build_random_model(LightGCN, dataset, n_layers=3, reg=0.3)
    users, items = to_array(model.user_embedding), to_array(model.item_embedding)
    nodes = average_layers(dense_adjacency(dataset), np.vstack([users, items]), 3)
    u, i = nodes[: dataset.n_users], nodes[dataset.n_users :]
    np.testing.assert_allclose(to_array(model.embed()[0]), u, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(to_array(model.embed()[1]), i, rtol=1e-4, atol=1e-6)
    penalty = sum(
        (table[rows] ** 2).sum()
        for table, rows in [
            (users, batch.users),
            (items, batch.positives),
            (items, batch.negatives),
        ]
    ) / (2 * len(batch.users))
    expected = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    assert model.loss(batch).item() == pytest.approx(expected + 0.3 * penalty, rel=1e-5)
