"""The graph of users against counting user by user, and the softmax-weighted mean over it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sgurinit.models.blocks import user_graph
from sgurinit.models.blocks.user_graph import NeighborMean, count_co_interactions

pytestmark = pytest.mark.usefixtures("empty_graph_cache")


def count_slowly(interactions, k):
    """Count co-interactions densely, one user at a time."""
    counts = interactions @ interactions.T
    np.fill_diagonal(counts, 0)
    kept = np.zeros_like(counts)
    for user, line in enumerate(counts):
        best = sorted(np.flatnonzero(line), key=lambda other: (-line[other], other))[:k]
        kept[user, best] = line[best]
    return kept


@pytest.fixture
def interactions():
    dense = (np.random.default_rng(0).random((40, 25)) < 0.2).astype(float)
    dense[[3, 39]] = 0
    return dense


@pytest.mark.parametrize("block", [1, 50, 1 << 22], ids=["rows", "several", "one"])
@pytest.mark.parametrize("k", [1, 6, 100])
def test_co_interactions_equal_slow_counting(interactions, k, block, monkeypatch):
    monkeypatch.setattr(user_graph, "BLOCK_PAIRS", block)
    graph = count_co_interactions(sp.csr_array(interactions), k)
    expected = count_slowly(interactions, k)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(graph.toarray(), expected)
    assert graph.nnz == np.count_nonzero(expected)


def test_an_interaction_counts_once_whatever_its_value(interactions):
    graph = count_co_interactions(sp.csr_array(7 * interactions), 5)
    np.testing.assert_array_equal(graph.toarray(), count_slowly(interactions, 5))


def test_without_shared_items_means_are_zero():
    graph = count_co_interactions(sp.csr_array(np.eye(4)), 3)
    assert graph.nnz == 0
    assert torch.equal(NeighborMean(graph)(torch.ones(4, 2)), torch.zeros(4, 2))


def test_neighbors_are_averaged_with_softmax_weights(interactions):
    counts = count_slowly(interactions, 6)
    weights = np.where(counts > 0, np.exp(counts), 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    mean = NeighborMean(count_co_interactions(sp.csr_array(interactions), 6))
    x = torch.randn(40, 3, requires_grad=True)
    expected = weights @ x.detach().numpy()
    assert not expected[[3, 39]].any()
    np.testing.assert_allclose(mean(x).detach(), expected, rtol=1e-4, atol=1e-6)
    rows = torch.tensor([5, 0, 39])
    np.testing.assert_allclose(mean(x, rows).detach(), expected[rows], rtol=1e-4, atol=1e-6)
    mean(x, rows).sum().backward()
    gradient = np.repeat(weights[rows].sum(axis=0)[:, None], 3, axis=1)
    np.testing.assert_allclose(x.grad, gradient, rtol=1e-4, atol=1e-6)


def test_large_counts_do_not_overflow():
    graph = sp.csr_array(np.array([[0, 1000.0, 999.0], [0, 0, 0], [5.0, 0, 0]]))
    result = NeighborMean(graph)(torch.tensor([[1.0], [2.0], [4.0]]))
    share = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(result[:, 0], [2 * share + 4 * (1 - share), 0, 1], rtol=1e-5)
