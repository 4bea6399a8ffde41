"""LightGCN: what holds for every model, and its equations written once more."""

from __future__ import annotations

import numpy as np
import pytest
from reference import array, built, dense_adjacency, layer_mean, log_sigmoid_loss

from sgurinit.models import LightGCN
from sgurinit.testing import RecommenderTests


class TestLightGCN(RecommenderTests):
    kind = LightGCN


def test_lightgcn(dataset, batch):
    model = built(LightGCN, dataset, n_layers=3, reg=0.3)
    users, items = array(model.user_embedding), array(model.item_embedding)
    nodes = layer_mean(dense_adjacency(dataset), np.vstack([users, items]), 3)
    u, i = nodes[: dataset.n_users], nodes[dataset.n_users :]
    np.testing.assert_allclose(array(model.embed()[0]), u, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(model.embed()[1]), i, rtol=1e-4, atol=1e-6)
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
