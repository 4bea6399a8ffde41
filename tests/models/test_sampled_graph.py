"""Samples of the interactions: how they are drawn, and the graph over them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sgurinit.models.blocks.sampled_graph import SampledGraph, sample_edges
from sgurinit.models.blocks.sparse_graph import build_bipartite_graph
from sgurinit.random_bits import draw_uniform
from sgurinit.seeds import derive_seed


@pytest.fixture
def weights():
    """Positive weights of a 9 x 7 matrix, with an empty row and an empty column."""
    rng = np.random.default_rng(0)
    dense = (rng.random((9, 7)) + 0.1) * (rng.random((9, 7)) < 0.5)
    dense[4], dense[:, 2] = 0, 0
    return sp.csr_array(dense)


def draw_slowly(weights, count, seed):
    """The places of the `count` smallest exponential variables, one interaction at a time."""
    key = (derive_seed(seed, "edges"), 0)
    rows, columns = weights.nonzero()
    arrival = [
        -np.log(float(draw_uniform(key, torch.tensor([n])))) / weights[row, column]
        for n, (row, column) in enumerate(zip(rows, columns, strict=True))
    ]
    kept = np.argsort(arrival)[:count]
    return sp.csr_array((np.ones(count), (rows[kept], columns[kept])), shape=weights.shape)


@pytest.mark.parametrize("count", [1, 6, 20])
def test_the_graph_is_the_normalized_one_of_the_drawn_interactions(weights, count):
    graph = SampledGraph(weights, count)
    for seed in (0, 3, 11):
        graph.draw_(seed)
        found = graph.to_scipy()
        expected = build_bipartite_graph(draw_slowly(weights, count, seed)).to_scipy()
        np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=1e-6)
        assert np.array_equal(found.indices, expected.indices)
        assert np.array_equal(found.indptr, expected.indptr)


def test_a_sample_is_written_to_the_same_tensors(weights):
    graph = SampledGraph(weights, 8)
    before = [tensor.data_ptr() for tensor in graph.directions()[0]]
    first = graph.to_scipy().toarray()
    graph.draw_(1)
    assert [tensor.data_ptr() for tensor in graph.directions()[0]] == before
    assert not np.array_equal(graph.to_scipy().toarray(), first)


def test_edges_are_sampled_in_proportion_to_their_weights():
    weights = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    first = torch.cat([sample_edges(weights, 1, seed) for seed in range(7000)]).bincount()
    np.testing.assert_allclose(first / 7000, weights / 7, atol=0.02)
    assert sorted(sample_edges(weights, 3, 0).tolist()) == [0, 1, 2]
