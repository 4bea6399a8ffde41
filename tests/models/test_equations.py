"""Each model against its equations written once more, dense and in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgurinit.errors import InputError
from sgurinit.models import FREEDOM, MGCN, VBPR, Batch, LightGCN
from sgurinit.models.freedom import sample_edges, shares
from sgurinit.training.run import build_model


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense_adjacency(dataset) -> np.ndarray:
    interactions = np.zeros((dataset.n_users, dataset.n_items))
    interactions[dataset.train.users, dataset.train.items] = 1
    n = dataset.n_users + dataset.n_items
    full = np.zeros((n, n))
    full[: dataset.n_users, dataset.n_users :] = interactions
    full[dataset.n_users :, : dataset.n_users] = interactions.T
    degree = full.sum(axis=1)
    root = np.array([d**-0.5 if d else 0.0 for d in degree])
    return root[:, None] * full * root[None, :]


def layer_mean(adjacency, nodes, n_layers):
    layers = [nodes]
    for _ in range(n_layers):
        layers.append(adjacency @ layers[-1])
    return np.mean(layers, axis=0)


def dense_knn(values, k, weighted):
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    similarity = unit @ unit.T
    kept = np.zeros_like(similarity)
    for row, line in enumerate(similarity):
        best = np.argsort(-line)[:k]
        kept[row, best] = np.maximum(line[best], 0) if weighted else 1
    root = kept.sum(axis=1) ** -0.5
    return root[:, None] * kept * root[None, :]


def log_sigmoid_loss(users, positives, negatives):
    margin = (users * positives).sum(1) - (users * negatives).sum(1)
    return -np.log(sigmoid(margin)).mean()


@pytest.fixture
def dataset(make_dataset):
    return make_dataset()


@pytest.fixture
def batch() -> Batch:
    # With repeats: popular nodes come several times in a real batch.
    return Batch(
        torch.tensor([0, 1, 1, 2, 0]), torch.tensor([3, 4, 3, 5, 7]), torch.tensor([6, 6, 8, 9, 3])
    )


def built(kind, dataset, **fields):
    model = build_model(kind, dataset, kind.Config(width=4, **fields), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model


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


def test_freedom(dataset, batch):
    model = built(FREEDOM, dataset, edge_dropout=0, k=4, reg=0.7, n_item_layers=2)
    users, items = array(model.user_embedding), array(model.item_embedding)
    tables = {name: f.values.astype(float) for name, f in dataset.features.items()}
    graph = 0.1 * dense_knn(tables["image"], 4, False) + 0.9 * dense_knn(tables["text"], 4, False)
    nodes = layer_mean(dense_adjacency(dataset), np.vstack([users, items]), 2)
    u, i = nodes[: dataset.n_users], nodes[dataset.n_users :] + graph @ graph @ items
    np.testing.assert_allclose(array(model.embed()[0]), u, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(array(model.embed()[1]), i, rtol=1e-4, atol=1e-6)
    expected = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    for projection, table in zip(model.projections, tables.values(), strict=True):
        content = linear(projection, table)
        expected += 0.7 * log_sigmoid_loss(
            u[batch.users], content[batch.positives], content[batch.negatives]
        )
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_freedom_trains_on_a_sample_of_the_interactions_and_infers_on_all(dataset):
    model = built(FREEDOM, dataset, edge_dropout=0.75)
    n_edges = len(dataset.train.users)
    seen = []
    for seed in (0, 0, 1):
        model.start_epoch(seed)
        graph = model.epoch_graph.matrix.to_dense()
        assert int((graph > 0).sum()) == 2 * int(n_edges * 0.25)
        assert torch.equal(graph, graph.T)
        seen.append(graph)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not torch.equal(model.train().embed()[0], model.eval().embed()[0])


def test_edges_are_sampled_in_proportion_to_their_weights():
    weights = np.array([1.0, 2.0, 4.0])
    rng = np.random.default_rng(0)
    first = np.bincount([sample_edges(weights, 1, rng)[0] for _ in range(7000)])
    np.testing.assert_allclose(first / 7000, weights / 7, atol=0.02)
    assert sorted(sample_edges(weights, 3, rng)) == [0, 1, 2]


def test_graph_weights_of_any_number_of_modalities():
    assert shares(["image", "text"], {"image": 0.1}) == pytest.approx({"image": 0.1, "text": 0.9})
    assert shares(["a", "b", "image"], {"image": 0.1}) == pytest.approx(
        {"a": 0.45, "b": 0.45, "image": 0.1}
    )
    assert shares(["image"], {"image": 0.1}) == {"image": 1.0}
    assert shares(["a", "b"], {"image": 0.1}) == {"a": 0.5, "b": 0.5}
    with pytest.raises(InputError, match="leaves nothing for b"):
        shares(["image", "a", "b"], {"image": 0.6, "a": 0.6})
    with pytest.raises(InputError, match="all 0"):
        shares(["image"], {"image": 0.0})
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="graph_weights"):
            FREEDOM.Config(graph_weights={"image": value})


def linear(layer, x):
    return x @ array(layer.weight).T + (0 if layer.bias is None else array(layer.bias))


def test_mgcn(dataset, batch):
    model = built(MGCN, dataset, k=4, contrast=0.3, reg=0.2)
    users, items = array(model.user_embedding), array(model.item_embedding)
    adjacency = dense_adjacency(dataset)
    behaviour = layer_mean(adjacency, np.vstack([users, items]), 2)
    views = []
    for m, table in enumerate(dataset.features.values()):
        values = table.values.astype(float)
        gate = sigmoid(linear(model.purifiers[m][1], linear(model.purifiers[m][0], values)))
        content = dense_knn(values, 4, True) @ (items * gate)
        to_users = adjacency[: dataset.n_users, dataset.n_users :] @ content
        views.append(np.vstack([to_users, content]))
    logits = np.stack(
        [linear(model.attention[2], np.tanh(linear(model.attention[0], v)))[:, 0] for v in views]
    )
    attention = np.exp(logits) / np.exp(logits).sum(axis=0)
    shared = sum(a[:, None] * v for a, v in zip(attention, views, strict=True))
    fused = shared.copy()
    for m, view in enumerate(views):
        fused += sigmoid(linear(model.preferences[m][0], behaviour)) * (view - shared)
    fused /= 3
    final = behaviour + fused
    embedded = np.vstack([array(part) for part in model.embed()])
    np.testing.assert_allclose(embedded, final, rtol=1e-4, atol=1e-6)

    shift = dataset.n_users
    u, p, n = (
        rows.numpy() for rows in (batch.users, batch.positives + shift, batch.negatives + shift)
    )

    def contrast(rows):
        one = fused[rows] / np.linalg.norm(fused[rows], axis=1, keepdims=True)
        two = behaviour[rows] / np.linalg.norm(behaviour[rows], axis=1, keepdims=True)
        similarity = np.exp(one @ two.T / 0.2)
        return -np.log(np.diag(similarity) / similarity.sum(axis=1)).mean()

    penalty = sum((final[rows] ** 2).sum() for rows in (u, p, n)) / (2 * len(u))
    expected = log_sigmoid_loss(final[u], final[p], final[n])
    expected += 0.2 * penalty + 0.3 * (contrast(u) + contrast(p))
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)
