"""VBPR: what holds for every model, and its equations written once more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import array, built, sigmoid

from sgurinit.models import VBPR
from sgurinit.testing import RecommenderTests


class TestVBPR(RecommenderTests):
    kind = VBPR


def test_vbpr(dataset, batch):
    model = built(VBPR, dataset, reg=0.2)
    features = [
        table.values.astype(float) / np.abs(table.values).max()
        for table in dataset.features.values()
    ]
    expected = np.zeros((dataset.n_users, dataset.n_items))
    for u in range(dataset.n_users):
        for i in range(dataset.n_items):
            score = array(model.item_bias)[i]
            score += array(model.user_embedding)[u] @ array(model.item_embedding)[i]
            for m, table in enumerate(features):
                projected = array(model.projections[m]).T @ table[i]
                score += array(model.user_content[m])[u] @ projected
                score += array(model.content_biases[m]) @ table[i]
            expected[u, i] = score
    scores = model.scorer()(torch.arange(dataset.n_users))
    np.testing.assert_allclose(array(scores), expected, rtol=1e-4, atol=1e-5)

    margin = (
        expected[batch.users, batch.positives.numpy()]
        - expected[batch.users, batch.negatives.numpy()]
    )
    penalty = (array(model.user_embedding)[batch.users] ** 2).sum()
    for table in model.user_content:
        penalty += (array(table)[batch.users] ** 2).sum()
    for rows in (batch.positives, batch.negatives):
        penalty += (array(model.item_embedding)[rows] ** 2).sum()
        penalty += (array(model.item_bias)[rows] ** 2).sum()
    penalty /= 2 * len(batch.users)
    for weights in (*model.projections, *model.content_biases):
        penalty += (array(weights) ** 2).sum() / 2
    expected_loss = -np.log(sigmoid(margin)).mean() + 0.2 * penalty
    assert model.loss(batch).item() == pytest.approx(expected_loss, rel=1e-5)
