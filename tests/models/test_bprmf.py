"""BPR-MF: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
from reference import build_random_model, log_sigmoid_loss, to_array

from sgurinit.models import BPRMF
from sgurinit.testing import RecommenderTests


class TestBPRMF(RecommenderTests):
    model_class = BPRMF
    planted_config = {"width": 32, "learning_rate": 0.01, "reg": 0.1}  # noqa: RUF012


def test_bprmf(dataset, batch):
    model = build_random_model(BPRMF, dataset, reg=0.3)
    users, items = to_array(model.user_embedding), to_array(model.item_embedding)
    scores = model.make_scorer()(batch.users)
    np.testing.assert_allclose(to_array(scores), users[batch.users] @ items.T, rtol=1e-4, atol=1e-6)
    u, p, n = users[batch.users], items[batch.positives], items[batch.negatives]
    penalty = sum((table**2).sum() for table in (u, p, n)) / (2 * len(u))
    expected = log_sigmoid_loss(u, p, n) + 0.3 * penalty
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)
