"""LGMRec: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from reference import (
    average_layers,
    build_random_model,
    dense_adjacency,
    log_sigmoid_loss,
    to_array,
)

from sgurinit.models import LGMRec, lgmrec
from sgurinit.testing import RecommenderTests, make_small_dataset

THREE = {"image": 6, "keys": 3, "text.v2": 4}


class TestLGMRec(RecommenderTests):
    model_class = LGMRec


def unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def parts(model, dataset, noise, kept):
    """Final vectors and hypergraph vectors by modality, users first, all dense."""
    n_users, config = dataset.n_users, model.config
    adjacency = dense_adjacency(dataset)
    interactions = (adjacency[:n_users, n_users:] > 0).astype(float)
    free = np.vstack([to_array(model.user_embedding), to_array(model.item_embedding)])
    behavior = average_layers(adjacency, free, config.n_layers)
    final, hyper = behavior.copy(), []
    for m, table in enumerate(dataset.features.values()):
        values = table.values.astype(float)
        items = values @ to_array(model.projections[m])
        users = interactions @ items / np.maximum(interactions.sum(1, keepdims=True), 1)
        content = np.vstack([users, items])
        for _ in range(config.n_content_layers):
            content = adjacency @ content
        final += unit(content)
        items = values @ to_array(model.hyperedges[m])
        logits = np.vstack([interactions @ items, items]) + noise[:, m]
        to_edges = softmax(logits / config.temperature) * kept[:, m]
        users, items = to_edges[:n_users], to_edges[n_users:]
        item_vectors = behavior[n_users:]
        for _ in range(config.n_hyper_layers):
            edges = items.T @ item_vectors
            item_vectors = items @ edges
        hyper.append(np.vstack([users @ edges, item_vectors]))
    return final + config.global_weight * unit(sum(hyper)), hyper


def expected_loss(model, dataset, batch, final, hyper):
    config, n_users = model.config, dataset.n_users
    u, p, n = (
        rows.numpy() for rows in (batch.users, batch.positives + n_users, batch.negatives + n_users)
    )
    loss = log_sigmoid_loss(final[u], final[p], final[n])
    loss += config.reg * sum(np.sqrt((final[rows] ** 2).sum()) for rows in (u, p, n)) / len(u)
    pairs = list(combinations(hyper, 2))
    for rows, everyone in ((u, slice(None, n_users)), (p, slice(n_users, None))):
        for one, other in pairs:
            for row in rows:
                view = unit(one[[row]])[0]
                raised = np.exp(unit(other[everyone]) @ view / config.temperature)
                positive = np.exp(unit(other[[row]])[0] @ view / config.temperature)
                loss -= config.contrast * np.log(positive / raised.sum()) / len(pairs)
    return loss


@pytest.mark.parametrize("modalities", [None, {"text": 5}, THREE], ids=["two", "one", "three"])
@pytest.mark.parametrize(
    ("n_hyperedges", "n_hyper_layers", "narrow"),
    [(3, 1, True), (5, 3, False)],
    ids=["narrow", "wide"],
)
def test_lgmrec(monkeypatch, batch, modalities, n_hyperedges, n_hyper_layers, narrow):
    monkeypatch.setattr(lgmrec, "is_narrow", lambda table, width: narrow)
    dataset = make_small_dataset(modalities)
    model = build_random_model(
        LGMRec, dataset, n_layers=3, n_content_layers=2, n_hyper_layers=n_hyper_layers,
        n_hyperedges=n_hyperedges, temperature=0.4, contrast=0.2, reg=0.3,
    ).eval()  # fmt: skip
    shape = (dataset.n_users + dataset.n_items, len(dataset.features), n_hyperedges)
    final, hyper = parts(model, dataset, np.zeros(shape), np.ones(shape))
    embedded = np.vstack([to_array(part) for part in model.embed()])
    np.testing.assert_allclose(embedded, final, rtol=1e-4, atol=1e-5)
    expected = expected_loss(model, dataset, batch, final, hyper)
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_training_draws_gumbel_noise_and_drops_dependencies(dataset, batch):
    model = build_random_model(LGMRec, dataset, dropout=0.6, temperature=0.4, contrast=0.2).train()
    shape = (dataset.n_users + dataset.n_items, 2, model.config.n_hyperedges)
    torch.manual_seed(5)
    noise = -torch.empty(shape).exponential_().log().double().numpy()
    kept = torch.nn.functional.dropout(torch.ones(shape), 0.6).double().numpy()
    torch.manual_seed(5)
    loss = model.loss(batch).item()
    final, hyper = parts(model, dataset, noise, kept)
    assert (kept == 0).all(axis=2).any(), "no row with all its dependencies dropped"
    assert loss == pytest.approx(expected_loss(model, dataset, batch, final, hyper), rel=1e-4)
    assert torch.equal(model.eval().embed()[0], model.embed()[0])


def test_gradients_stay_finite_where_all_dependencies_are_dropped(dataset, batch):
    model = build_random_model(LGMRec, dataset, dropout=0.95, contrast=1.0).train()
    for seed in range(5):
        torch.manual_seed(seed)
        model.zero_grad()
        model.loss(batch).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_mixed_precision_sums_over_all_nodes_in_float32(dataset, batch, monkeypatch):
    """On CUDA devices it computes a softmax in float32, so the views differ in precision."""
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda x, dim: softmax(x.float(), dim))
    model = build_random_model(LGMRec, dataset, width=8, n_hyperedges=3, contrast=0.3).eval()
    exact = model.loss(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(batch)
    loss.backward()
    torch.testing.assert_close(loss, exact, rtol=1e-2, atol=0)
