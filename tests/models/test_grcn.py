"""GRCN: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import apply_linear, build_random_model, log_sigmoid_loss, to_array

from sgurinit.models import GRCN
from sgurinit.testing import RecommenderTests


class TestGRCN(RecommenderTests):
    model_class = GRCN


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def softmax_over(logits, edges):
    """Compute the softmax of each row over its edges. Rows without edges are zero."""
    raised = np.where(edges, np.exp(logits), 0)
    return raised / np.maximum(raised.sum(axis=1, keepdims=True), 1e-300)


def final_nodes(model, dataset):
    edges = np.zeros((dataset.n_users, dataset.n_items), dtype=bool)
    edges[dataset.train.users, dataset.train.items] = True
    into_users, into_items, parts = [], [], []
    for m, table in enumerate(dataset.features.values()):
        mapped = apply_linear(model.projections[m][0], table.values.astype(float))
        items = unit(np.where(mapped > 0, mapped, 0.01 * mapped))
        users = unit(to_array(model.preferences[m]))
        for _ in range(model.config.n_routings):
            users = unit(users + softmax_over(users @ items.T, edges) @ items)
        to_users = softmax_over(users @ items.T, edges)
        to_items = softmax_over(items @ users.T, edges.T)
        parts.append(np.vstack([users + to_users @ items, items + to_items @ users]))
        into_users.append(to_users * to_array(model.item_confidence)[None, :, m])
        into_items.append(to_items * to_array(model.user_confidence)[None, :, m])
    to_users = np.where(edges, np.max(into_users, axis=0), 0)
    to_items = np.where(edges.T, np.max(into_items, axis=0), 0)
    if model.config.pruning == "hard":
        to_users, to_items = np.maximum(to_users, 0), np.maximum(to_items, 0)
    users, items = unit(to_array(model.user_embedding)), unit(to_array(model.item_embedding))
    total = np.vstack([users, items])
    for _ in range(2):
        users, items = to_users @ items, to_items @ users
        total = total + np.vstack([users, items])
    return np.hstack([total, *parts])


@pytest.mark.parametrize(("n_routings", "pruning"), [(3, "soft"), (1, "hard"), (0, "soft")])
def test_grcn(dataset, batch, n_routings, pruning):
    model = build_random_model(GRCN, dataset, n_routings=n_routings, pruning=pruning, reg=0.3)
    final = final_nodes(model, dataset)
    embedded = np.vstack([to_array(part) for part in model.embed()])
    np.testing.assert_allclose(embedded, final, rtol=1e-4, atol=1e-6)

    shift = dataset.n_users
    u, p, n = (
        rows.numpy() for rows in (batch.users, batch.positives + shift, batch.negatives + shift)
    )
    free = np.vstack([to_array(model.user_embedding), to_array(model.item_embedding)])
    squares = free[np.repeat(u, 2)] ** 2 + free[np.stack([p, n], axis=1).ravel()] ** 2
    penalty = squares.mean()
    for table in model.preferences:
        penalty += (to_array(table)[u] ** 2).mean()
    expected = log_sigmoid_loss(final[u], final[p], final[n]) + 0.3 * penalty
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_hard_pruning_differs_from_soft(dataset):
    soft, hard = (
        build_random_model(GRCN, dataset, pruning=pruning).embed()[0][:, :4]
        for pruning in ("soft", "hard")
    )
    assert not torch.allclose(soft, hard)


def test_products_at_the_edges_have_the_gradient_of_dense_ones(dataset):
    edges = GRCN(dataset).edges
    users, items = torch.randn(30, 4), torch.randn(20, 4)
    sparse = [table.clone().requires_grad_() for table in (users, items)]
    dense = [table.clone().requires_grad_() for table in (users, items)]
    weights = torch.randn(len(edges.users))
    (edges(*sparse) * weights).sum().backward()
    ((dense[0] @ dense[1].T)[edges.users, edges.items] * weights).sum().backward()
    for one, other in zip(sparse, dense, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_preferences_are_in_the_space_of_the_mapped_features(dataset):
    model = build_random_model(GRCN, dataset)
    free, image, text = model.user_tables()
    assert (free.space, image.space, text.space) == ("free", "projected", "projected")
    assert free.items is model.item_embedding
    mapped = apply_linear(model.projections[0][0], dataset.features["image"].values)
    expected = np.where(mapped > 0, mapped, 0.01 * mapped)
    np.testing.assert_allclose(to_array(image.item_vectors()), expected, rtol=1e-4, atol=1e-6)
    assert text.modality == "text"
