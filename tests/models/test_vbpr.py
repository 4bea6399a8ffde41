"""VBPR: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import build_random_model, sigmoid, to_array

from sgurinit.models import VBPR
from sgurinit.testing import RecommenderTests


class TestVBPR(RecommenderTests):
    model_class = VBPR


def test_vbpr(dataset, batch):
    model = build_random_model(VBPR, dataset, reg=0.2)
    features = [
        table.values.astype(float) / np.abs(table.values).max()
        for table in dataset.features.values()
    ]
    expected = np.zeros((dataset.n_users, dataset.n_items))
    for u in range(dataset.n_users):
        for i in range(dataset.n_items):
            score = to_array(model.item_bias)[i]
            score += to_array(model.user_embedding)[u] @ to_array(model.item_embedding)[i]
            for m, table in enumerate(features):
                projected = to_array(model.projections[m]).T @ table[i]
                score += to_array(model.user_content[m])[u] @ projected
                score += to_array(model.content_biases[m]) @ table[i]
            expected[u, i] = score
    scores = model.make_scorer()(torch.arange(dataset.n_users))
    np.testing.assert_allclose(to_array(scores), expected, rtol=1e-4, atol=1e-5)

    margin = (
        expected[batch.users, batch.positives.numpy()]
        - expected[batch.users, batch.negatives.numpy()]
    )
    penalty = (to_array(model.user_embedding)[batch.users] ** 2).sum()
    for table in model.user_content:
        penalty += (to_array(table)[batch.users] ** 2).sum()
    for rows in (batch.positives, batch.negatives):
        penalty += (to_array(model.item_embedding)[rows] ** 2).sum()
        penalty += (to_array(model.item_bias)[rows] ** 2).sum()
    penalty /= 2 * len(batch.users)
    for weights in (*model.projections, *model.content_biases):
        penalty += (to_array(weights) ** 2).sum() / 2
    expected_loss = -np.log(sigmoid(margin)).mean() + 0.2 * penalty
    assert model.loss(batch).item() == pytest.approx(expected_loss, rel=1e-5)
