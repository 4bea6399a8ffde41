"""MGCN: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
from reference import (
    apply_linear,
    average_layers,
    build_random_model,
    dense_adjacency,
    dense_knn,
    log_sigmoid_loss,
    sigmoid,
    to_array,
)

from sgurinit.models import MGCN
from sgurinit.testing import RecommenderTests


class TestMGCN(RecommenderTests):
    model_class = MGCN


def test_mgcn(dataset, batch):
    model = build_random_model(MGCN, dataset, k=4, contrast=0.3, reg=0.2)
    users, items = to_array(model.user_embedding), to_array(model.item_embedding)
    adjacency = dense_adjacency(dataset)
    behavior = average_layers(adjacency, np.vstack([users, items]), 2)
    views = []
    for m, table in enumerate(dataset.features.values()):
        values = table.values.astype(float)
        gate = sigmoid(
            apply_linear(model.purifiers[m][1], apply_linear(model.purifiers[m][0], values))
        )
        content = dense_knn(values, 4, True) @ (items * gate)
        to_users = adjacency[: dataset.n_users, dataset.n_users :] @ content
        views.append(np.vstack([to_users, content]))
    logits = np.stack(
        [
            apply_linear(model.attention[2], np.tanh(apply_linear(model.attention[0], v)))[:, 0]
            for v in views
        ]
    )
    attention = np.exp(logits) / np.exp(logits).sum(axis=0)
    shared = sum(a[:, None] * v for a, v in zip(attention, views, strict=True))
    fused = shared.copy()
    for m, view in enumerate(views):
        fused += sigmoid(apply_linear(model.preferences[m][0], behavior)) * (view - shared)
    fused /= 3
    final = behavior + fused
    embedded = np.vstack([to_array(part) for part in model.embed()])
    np.testing.assert_allclose(embedded, final, rtol=1e-4, atol=1e-6)

    shift = dataset.n_users
    u, p, n = (
        rows.numpy() for rows in (batch.users, batch.positives + shift, batch.negatives + shift)
    )

    def contrast(rows):
        one = fused[rows] / np.linalg.norm(fused[rows], axis=1, keepdims=True)
        two = behavior[rows] / np.linalg.norm(behavior[rows], axis=1, keepdims=True)
        similarity = np.exp(one @ two.T / 0.2)
        return -np.log(np.diag(similarity) / similarity.sum(axis=1)).mean()

    penalty = sum((final[rows] ** 2).sum() for rows in (u, p, n)) / (2 * len(u))
    expected = log_sigmoid_loss(final[u], final[p], final[n])
    expected += 0.2 * penalty + 0.3 * (contrast(u) + contrast(p))
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)
