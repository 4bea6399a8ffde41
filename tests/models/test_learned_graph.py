"""Graphs with learned weights against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgurinit.models.blocks.learned_graph import LearnedGraph


@pytest.fixture
def pattern():
    """Places of a 7 x 5 matrix in random order, with an empty row and an empty column."""
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((7, 5)) < 0.5)
    kept = (rows != 3) & (columns != 2)
    order = rng.permutation(int(kept.sum()))
    return torch.from_numpy(rows[kept][order]), torch.from_numpy(columns[kept][order])


def test_product_and_gradients_equal_the_dense_ones(pattern):
    rows, columns = pattern
    graph = LearnedGraph(rows, columns, (7, 5))
    results = []
    weights = torch.randn(len(rows), dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)

    def multiply_dense(w, y):
        return torch.zeros(7, 5, dtype=w.dtype).index_put(pattern, w) @ y

    for multiply in (graph, multiply_dense):
        w, y = weights.clone().requires_grad_(), x.clone().requires_grad_()
        product = multiply(w, y)
        (product * torch.arange(21.0).view(7, 3)).square().sum().backward()
        results.append((product, w.grad, y.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    assert not results[0][0][3].any()


def test_products_at_the_entries_and_their_gradients_equal_the_dense_ones(pattern):
    rows, columns = pattern
    graph = LearnedGraph(rows, columns, (7, 5))
    tables = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (7, 5)]
    factors = torch.randn(len(rows), dtype=torch.float64)
    found = graph.multiply_at_entries(*tables)
    expected = (tables[0] @ tables[1].T)[rows, columns]
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad((factors * products).sum(), tables) for products in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_softmax_over_the_entries_of_each_row_equals_the_dense_one(pattern):
    rows, columns = pattern
    graph = LearnedGraph(rows, columns, (7, 5))
    logits = (50 * torch.randn(len(rows), dtype=torch.float64)).requires_grad_()
    found = graph.softmax(logits)
    dense = torch.full((7, 5), -torch.inf, dtype=torch.float64)
    dense = dense.index_put(pattern, logits)
    expected = torch.softmax(dense, 1)[rows, columns]
    torch.testing.assert_close(found, expected)
    factors = torch.randn(len(rows), dtype=torch.float64)
    gradients = [
        torch.autograd.grad((values * factors).sum(), logits, retain_graph=True)[0]
        for values in (found, expected)
    ]
    torch.testing.assert_close(*gradients)


def test_a_graph_without_entries_gives_zeros():
    empty = torch.zeros(0, dtype=torch.int64)
    x = torch.ones(4, 2, requires_grad=True)
    product = LearnedGraph(empty, empty, (3, 4))(torch.zeros(0), x)
    assert torch.equal(product, torch.zeros(3, 2))
    product.sum().backward()
    assert not x.grad.any()


def test_weights_of_entries_with_the_same_place_add_up():
    graph = LearnedGraph(torch.tensor([1, 0, 1]), torch.tensor([2, 0, 2]), (2, 3))
    weights = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    x = torch.tensor([[1.0], [10.0], [100.0]], requires_grad=True)
    product = graph(weights, x)
    assert product.tolist() == [[2.0], [500.0]]
    product.sum().backward()
    assert weights.grad.tolist() == [100.0, 1.0, 100.0]
    assert x.grad.tolist() == [[2.0], [0.0], [5.0]]


def test_a_graph_takes_over_the_places_of_another_in_its_own_tensors(pattern):
    rows, columns = pattern
    graph = LearnedGraph(rows.flip(0), columns[torch.randperm(len(columns))], (7, 5))
    before = {name: tensor.data_ptr() for name, tensor in graph.named_buffers()}
    other = LearnedGraph(rows, columns, (7, 5))
    graph.copy_(other)
    weights, x = torch.randn(len(rows)), torch.randn(5, 3)
    assert torch.equal(graph(weights, x), other(weights, x))
    assert {name: tensor.data_ptr() for name, tensor in graph.named_buffers()} == before
