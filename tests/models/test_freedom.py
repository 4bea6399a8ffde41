"""FREEDOM: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import (
    apply_linear,
    average_layers,
    build_random_model,
    dense_adjacency,
    dense_knn,
    log_sigmoid_loss,
    to_array,
)

from sgurinit.models import FREEDOM
from sgurinit.testing import RecommenderTests


class TestFREEDOM(RecommenderTests):
    model_class = FREEDOM


def test_freedom(dataset, batch):
    model = build_random_model(FREEDOM, dataset, edge_dropout=0, k=4, reg=0.7, n_item_layers=2)
    users, items = to_array(model.user_embedding), to_array(model.item_embedding)
    tables = {name: f.values.astype(float) for name, f in dataset.features.items()}
    graph = 0.1 * dense_knn(tables["image"], 4, False) + 0.9 * dense_knn(tables["text"], 4, False)
    nodes = average_layers(dense_adjacency(dataset), np.vstack([users, items]), 2)
    u, i = nodes[: dataset.n_users], nodes[dataset.n_users :] + graph @ graph @ items
    np.testing.assert_allclose(to_array(model.embed()[0]), u, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(to_array(model.embed()[1]), i, rtol=1e-4, atol=1e-6)
    expected = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    for projection, table in zip(model.projections, tables.values(), strict=True):
        content = apply_linear(projection, table)
        expected += 0.7 * log_sigmoid_loss(
            u[batch.users], content[batch.positives], content[batch.negatives]
        )
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_training_uses_a_sample_of_the_interactions_and_inference_all(dataset):
    model = build_random_model(FREEDOM, dataset, edge_dropout=0.75)
    n_edges = len(dataset.train.users)
    seen = []
    for seed in (0, 0, 1):
        model.begin_epoch(seed)
        graph = torch.from_numpy(model.epoch_graph.to_scipy().toarray())
        assert int((graph > 0).sum()) == 2 * int(n_edges * 0.25)
        assert torch.equal(graph, graph.T)
        seen.append(graph)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not torch.equal(model.train().embed()[0], model.eval().embed()[0])
