"""Sparse graphs against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sgurinit.core import ItemFeatures
from sgurinit.models.blocks import graphs
from sgurinit.models.blocks.graphs import (
    LearntGraph,
    SparseGraph,
    bipartite,
    knn_graph,
    nearest,
    normalised,
)


@pytest.mark.parametrize("symmetric", [True, False])
def test_product_and_gradient_equal_the_dense_ones(symmetric):
    rng = np.random.default_rng(0)
    dense = rng.random((6, 6)) * (rng.random((6, 6)) < 0.4)
    dense = dense + dense.T if symmetric else dense
    graph = SparseGraph(sp.csr_array(dense), symmetric=symmetric)
    x = torch.randn(6, 3, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    ((graph(x) * torch.arange(18.0).view(6, 3)) ** 2).sum().backward()
    ((torch.tensor(dense).float() @ y * torch.arange(18.0).view(6, 3)) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@pytest.fixture
def pattern():
    """Places of a 7 x 5 matrix in no order, with an empty row and an empty column."""
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((7, 5)) < 0.5)
    kept = (rows != 3) & (columns != 2)
    order = rng.permutation(int(kept.sum()))
    return rows[kept][order], columns[kept][order]


def test_learnt_weights_and_their_gradients_equal_the_dense_ones(pattern):
    rows, columns = pattern
    graph = LearntGraph(rows, columns, (7, 5))
    results = []
    weights = torch.randn(len(rows), dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    places = torch.from_numpy(rows), torch.from_numpy(columns)

    def dense(w, y):
        return torch.zeros(7, 5, dtype=w.dtype).index_put(places, w) @ y

    for product in (graph, dense):
        w, y = weights.clone().requires_grad_(), x.clone().requires_grad_()
        out = product(w, y)
        (out * torch.arange(21.0).view(7, 3)).square().sum().backward()
        results.append((out, w.grad, y.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
    assert not results[0][0][3].any()


def test_products_at_the_entries_and_their_gradients_equal_the_dense_ones(pattern):
    rows, columns = pattern
    graph = LearntGraph(rows, columns, (7, 5))
    tables = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (7, 5)]
    factors = torch.randn(len(rows), dtype=torch.float64)
    ours, dense = graph.products(*tables), (tables[0] @ tables[1].T)[rows, columns]
    torch.testing.assert_close(ours, dense)
    grads = [torch.autograd.grad((factors * found).sum(), tables) for found in (ours, dense)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_softmax_over_the_entries_of_each_row(pattern):
    rows, columns = pattern
    graph = LearntGraph(rows, columns, (7, 5))
    logits = (50 * torch.randn(len(rows), dtype=torch.float64)).requires_grad_()
    ours = graph.softmax(logits)
    dense = torch.full((7, 5), -torch.inf, dtype=torch.float64)
    expected = torch.softmax(
        dense.index_put((torch.tensor(rows), torch.tensor(columns)), logits), 1
    )
    torch.testing.assert_close(ours, expected[rows, columns])
    factors = torch.randn(len(rows), dtype=torch.float64)
    grads = [
        torch.autograd.grad((values * factors).sum(), logits, retain_graph=True)[0]
        for values in (ours, expected[rows, columns])
    ]
    torch.testing.assert_close(*grads)


def test_a_graph_without_entries_gives_zeros():
    empty = np.zeros(0, np.int64)
    x = torch.ones(4, 2, requires_grad=True)
    for product in (
        SparseGraph(sp.csr_array((3, 4)))(x),
        LearntGraph(empty, empty, (3, 4))(torch.zeros(0), x),
    ):
        assert torch.equal(product, torch.zeros(3, 2))
        product.sum().backward()
        assert not x.grad.any()


def test_a_rectangular_graph_goes_both_ways():
    graph = SparseGraph(sp.csr_array(np.array([[1.0, 0, 2], [0, 3, 0]])))
    x = torch.ones(3, 1, requires_grad=True)
    graph(x).sum().backward()
    assert graph(x).tolist() == [[3.0], [3.0]]
    assert x.grad.tolist() == [[1.0], [3.0], [2.0]]


def test_normalisation_leaves_empty_rows_and_columns_zero():
    matrix = sp.csr_array(np.array([[1.0, 1, 0], [0, 0, 0]]))
    expected = np.array([[2**-0.5, 2**-0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(normalised(matrix).toarray(), expected)
    assert np.isfinite(bipartite(matrix).to_scipy().toarray()).all()


@pytest.mark.parametrize("weighted", [True, False])
def test_neighbours_equal_brute_force_whatever_the_block(monkeypatch, weighted):
    values = np.random.default_rng(0).normal(size=(40, 5))
    whole = knn_graph(ItemFeatures(values), 6, weighted=weighted).toarray()
    monkeypatch.setattr(graphs, "KNN_BLOCK", 7)
    np.testing.assert_allclose(
        knn_graph(ItemFeatures(values), 6, weighted=weighted).toarray(), whole, rtol=1e-5
    )
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    for row, similarities in enumerate(unit @ unit.T):
        expected = set(np.argsort(-similarities)[:6])
        if not weighted:
            assert set(np.flatnonzero(whole[row])) == expected
        assert set(np.flatnonzero(whole[row])) <= expected


def test_nearest_rows_are_the_same_whatever_the_block(monkeypatch):
    vectors = torch.randn(40, 5)
    expected = (vectors @ vectors.T).sort(dim=1, descending=True)
    for block in (40, 7):
        monkeypatch.setattr(graphs, "KNN_BLOCK", block)
        products, positions = nearest(vectors, 6)
        assert torch.equal(positions, expected.indices[:, :6])
        torch.testing.assert_close(products, expected.values[:, :6])
    assert nearest(vectors, 99)[1].shape == (40, 40)


def test_items_without_features_are_nobodys_neighbours():
    values = np.random.default_rng(0).normal(size=(8, 3))
    present = np.array([True] * 6 + [False] * 2)
    values[~present] = np.nan
    graph = knn_graph(ItemFeatures(values, present), 4, weighted=False).toarray()
    assert not graph[6:].any()
    assert not graph[:, 6:].any()
    assert (graph[:6] > 0).sum(axis=1).tolist() == [4] * 6


def test_all_zero_rows_are_nobodys_neighbours():
    values = np.random.default_rng(0).normal(size=(8, 3))
    values[[2, 5]] = 0
    graph = knn_graph(ItemFeatures(values), 4, weighted=True).toarray()
    assert not graph[[2, 5]].any()
    assert not graph[:, [2, 5]].any()


def test_more_neighbours_than_items_means_all_items():
    graph = knn_graph(ItemFeatures(np.eye(3)), 10, weighted=False).toarray()
    np.testing.assert_allclose(graph, np.full((3, 3), 1 / 3))
