"""BM3: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import apply_linear, average_layers, build_random_model, dense_adjacency, to_array

from sgurinit.models import BM3, Batch
from sgurinit.models import bm3 as module
from sgurinit.testing import RecommenderTests


class TestBM3(RecommenderTests):
    model_class = BM3


def cosines(one, two):
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def keep_scaled(x, dropout):
    """Replace dropout by a change that depends on the entry and is the same in every call."""
    return x * (1 + dropout * torch.arange(x.shape[1]))


def online(model, dataset):
    users, items = to_array(model.user_embedding), to_array(model.item_embedding)
    nodes = average_layers(
        dense_adjacency(dataset), np.vstack([users, items]), model.config.n_layers
    )
    return nodes[: dataset.n_users], nodes[dataset.n_users :] + items


def test_bm3(dataset, batch, monkeypatch):
    monkeypatch.setattr(module.functional, "dropout", keep_scaled)
    model = build_random_model(BM3, dataset, n_layers=2, dropout=0.3, contrast=0.7, reg=0.2)
    users, items = online(model, dataset)
    for part, expected in zip(model.embed(), (users, items), strict=True):
        np.testing.assert_allclose(
            to_array(part), apply_linear(model.predictor, expected), rtol=1e-4, atol=1e-5
        )

    def target(x):
        return x * (1 + 0.3 * np.arange(4))

    u, i = users[batch.users], items[batch.positives]
    expected = 2 - cosines(apply_linear(model.predictor, u), target(i)).mean()
    expected -= cosines(apply_linear(model.predictor, i), target(u)).mean()
    for m, table in enumerate(dataset.features.values()):
        content = apply_linear(model.projections[m], table.values.astype(float))[batch.positives]
        predicted = apply_linear(model.predictor, content)
        expected += 0.7 * (1 - cosines(predicted, target(i)).mean())
        expected += 0.7 * (1 - cosines(predicted, target(content)).mean())
    norms = np.sqrt((users**2).sum()) + np.sqrt((items**2).sum())
    expected += 0.2 * norms / dataset.n_items
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_targets_have_dropout_and_no_gradient(dataset):
    model = build_random_model(BM3, dataset, dropout=0.5)
    views = torch.ones(500, 4, requires_grad=True)
    target = model._target(views)
    assert not target.requires_grad
    assert 0.45 < (target == 0).float().mean() < 0.55


def test_negatives_are_not_used(dataset, batch):
    model = build_random_model(BM3, dataset, dropout=0)
    other = Batch(batch.users, batch.positives, batch.negatives.flip(0))
    assert torch.equal(model.loss(batch), model.loss(other))
