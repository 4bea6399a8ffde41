"""Constant sparse graphs against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sgurinit.errors import InputError
from sgurinit.models.blocks._csr import multiply_by_entries, multiply_by_rows, to_csr
from sgurinit.models.blocks.sparse_graph import (
    SparseGraph,
    build_bipartite_graph,
    normalize_interactions,
    propagate_mean,
)


@pytest.mark.parametrize("symmetric", [True, False])
def test_product_and_gradient_equal_the_dense_ones(symmetric):
    rng = np.random.default_rng(0)
    dense = rng.random((6, 6)) * (rng.random((6, 6)) < 0.4)
    dense = dense + dense.T if symmetric else dense
    graph = SparseGraph(sp.csr_array(dense), symmetric=symmetric)
    x = torch.tensor(rng.normal(size=(6, 3)), dtype=torch.float32, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    factors = torch.arange(18.0).view(6, 3)
    ((graph(x) * factors) ** 2).sum().backward()
    ((torch.tensor(dense).float() @ y * factors) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-5, atol=1e-4)


def test_a_graph_without_entries_gives_zeros():
    x = torch.ones(4, 2, requires_grad=True)
    product = SparseGraph(sp.csr_array((3, 4)))(x)
    assert torch.equal(product, torch.zeros(3, 2))
    product.sum().backward()
    assert not x.grad.any()


def test_a_rectangular_graph_has_the_gradient_of_its_transpose():
    graph = SparseGraph(sp.csr_array(np.array([[1.0, 0, 2], [0, 3, 0]])))
    x = torch.ones(3, 1, requires_grad=True)
    graph(x).sum().backward()
    assert graph(x).tolist() == [[3.0], [3.0]]
    assert x.grad.tolist() == [[1.0], [3.0], [2.0]]


def test_normalization_leaves_empty_rows_and_columns_zero():
    matrix = sp.csr_array(np.array([[1.0, 1, 0], [0, 0, 0]]))
    expected = np.array([[2**-0.5, 2**-0.5, 0], [0, 0, 0]])
    np.testing.assert_allclose(normalize_interactions(matrix).toarray(), expected)
    graph = build_bipartite_graph(matrix).to_scipy().toarray()
    np.testing.assert_allclose(graph[:2, 2:], expected, rtol=1e-6)
    np.testing.assert_allclose(graph[2:, :2], expected.T, rtol=1e-6)
    assert not graph[:2, :2].any()
    assert not graph[2:, 2:].any()


def test_a_table_of_other_rows_is_refused_before_foreign_memory_is_read():
    graph = SparseGraph(sp.csr_array(np.ones((2, 3))))
    for use in (graph, lambda x: propagate_mean(graph, x, 2)):
        with pytest.raises(InputError, match="the table has 2 rows, the graph 3 columns"):
            use(torch.ones(2, 4))


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_products_equal_the_dense_one(index, dtype):
    """A CUDA device has another product than a CPU."""
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(7, 5)) * (rng.random((7, 5)) < 0.4)
    dense[3], dense[:, 2] = 0, 0
    matrix = to_csr(sp.csr_array(dense))
    matrix = matrix._replace(offsets=matrix.offsets.to(index), columns=matrix.columns.to(index))
    x = torch.tensor(rng.normal(size=(3, 5)), dtype=dtype).T  # not contiguous
    expected = torch.tensor(dense, dtype=torch.float32).to(dtype) @ x
    for multiply in (multiply_by_rows, multiply_by_entries):
        torch.testing.assert_close(multiply(matrix, x), expected)
    empty = to_csr(sp.csr_array((7, 5)))
    for multiply in (multiply_by_rows, multiply_by_entries):
        assert torch.equal(multiply(empty, x), torch.zeros(7, 3, dtype=dtype))


def test_a_symmetric_graph_is_stored_once_on_every_device():
    graph = build_bipartite_graph(sp.csr_array(np.ones((2, 3))))
    assert {name.split("_")[1] for name, _ in graph.named_buffers()} == {"forward"}
    one, other = graph.to("meta").directions()
    assert all(a is b for a, b in zip(one, other, strict=True))
