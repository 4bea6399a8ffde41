"""Nearest items against brute force, and the weights of the frozen item graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import dense_knn

from sgurinit.core import ItemFeatures
from sgurinit.errors import InputError
from sgurinit.models import FREEDOM
from sgurinit.models.blocks import item_graph
from sgurinit.models.blocks.building import build_on
from sgurinit.models.blocks.item_graph import build_knn_graph, find_nearest, share_graph_weights

pytestmark = pytest.mark.usefixtures("empty_graph_cache")


@pytest.mark.parametrize("block", [7, 40], ids=["blocks", "whole"])
@pytest.mark.parametrize("weighted", [True, False])
def test_neighbors_equal_brute_force_for_any_block_size(monkeypatch, weighted, block):
    monkeypatch.setattr(item_graph, "BLOCK_ROWS", block)
    values = np.random.default_rng(0).normal(size=(40, 5))
    graph = build_knn_graph(ItemFeatures(values), 6, weighted=weighted).toarray()
    np.testing.assert_allclose(graph, dense_knn(values, 6, weighted), rtol=1e-5, atol=1e-7)


def test_nearest_rows_are_the_same_for_any_block_size(monkeypatch):
    vectors = torch.randn(40, 5)
    expected = (vectors @ vectors.T).sort(dim=1, descending=True)
    for block in (40, 7):
        monkeypatch.setattr(item_graph, "BLOCK_ROWS", block)
        products, positions = find_nearest(vectors, 6)
        assert torch.equal(positions, expected.indices[:, :6])
        torch.testing.assert_close(products, expected.values[:, :6])
    assert find_nearest(vectors, 99)[1].shape == (40, 40)


def choose_as_on_a_device(monkeypatch, rows: int) -> None:
    """Take the code for a CUDA device, on the CPU."""
    monkeypatch.setattr(item_graph, "is_chosen_there", lambda vectors: True)
    monkeypatch.setattr(item_graph, "count_rows", lambda n_items, device: rows)


@pytest.mark.parametrize(("n", "k"), [(40, 6), (40, 99), (900, 7)])
def test_a_device_finds_the_same_neighbors(monkeypatch, n, k):
    vectors = torch.nn.functional.normalize(torch.randn(n, 5), dim=1)
    here = find_nearest(vectors, k)
    choose_as_on_a_device(monkeypatch, rows=100)
    for found, expected in zip(find_nearest(vectors, k), here, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_device_takes_the_first_of_equal_rows(monkeypatch):
    """Whole numbers, so that equal products are equal for any order of their sums."""
    vectors = torch.randint(-1, 2, (900, 4)).float()
    expected = (vectors @ vectors.T).sort(dim=1, descending=True, stable=True)
    choose_as_on_a_device(monkeypatch, rows=100)
    products, positions = find_nearest(vectors, 7)
    assert torch.equal(positions, expected.indices[:, :7])
    assert torch.equal(products, expected.values[:, :7])


def test_large_graphs_alone_are_built_on_the_device_that_trains(monkeypatch):
    moved = []
    plain = torch.Tensor.to

    def to(tensor, device):
        moved.append(device)
        return plain(tensor, "cpu")

    features = ItemFeatures(np.random.default_rng(0).normal(size=(40, 5)))
    with build_on(torch.device("meta")):
        small = build_knn_graph.__wrapped__(features, 6, weighted=True)
        monkeypatch.setattr(item_graph, "DEVICE_ROWS", 40)
        monkeypatch.setattr(torch.Tensor, "to", to)
        large = build_knn_graph.__wrapped__(features, 6, weighted=True)
    assert moved == [torch.device("meta")]
    assert (small != large).nnz == 0


def test_blocks_of_many_rows_are_bounded_in_memory(monkeypatch):
    vectors = torch.randn(40, 5)
    expected = find_nearest(vectors, 6)
    monkeypatch.setattr(item_graph, "BLOCK_PRODUCTS", 3 * 40)
    sizes = []
    choose = item_graph._choose_here

    def note(products, k):
        sizes.append(len(products))
        return choose(products, k)

    monkeypatch.setattr(item_graph, "_choose_here", note)
    assert torch.equal(find_nearest(vectors, 6)[1], expected[1])
    assert max(sizes) == 3


def test_items_without_features_are_not_neighbors():
    values = np.random.default_rng(0).normal(size=(8, 3))
    present = np.array([True] * 6 + [False] * 2)
    values[~present] = np.nan
    graph = build_knn_graph(ItemFeatures(values, present), 4, weighted=False).toarray()
    assert not graph[6:].any()
    assert not graph[:, 6:].any()
    assert (graph[:6] > 0).sum(axis=1).tolist() == [4] * 6


def test_all_zero_rows_are_not_neighbors():
    values = np.random.default_rng(0).normal(size=(8, 3))
    values[[2, 5]] = 0
    graph = build_knn_graph(ItemFeatures(values), 4, weighted=True).toarray()
    assert not graph[[2, 5]].any()
    assert not graph[:, [2, 5]].any()


def test_a_modality_of_zeros_has_a_graph_without_edges(monkeypatch):
    for there in (False, True):
        if there:
            choose_as_on_a_device(monkeypatch, rows=100)
        graph = build_knn_graph.__wrapped__(ItemFeatures(np.zeros((8, 3))), 4, weighted=False)
        assert (graph.shape, graph.nnz) == ((8, 8), 0)


def test_more_neighbors_than_items_means_all_items():
    graph = build_knn_graph(ItemFeatures(np.eye(3)), 10, weighted=False).toarray()
    np.testing.assert_allclose(graph, np.full((3, 3), 1 / 3))


def test_graph_weights_of_any_number_of_modalities_sum_to_one():
    image = {"image": 0.1}
    assert share_graph_weights(["image", "text"], image) == pytest.approx(
        {"image": 0.1, "text": 0.9}
    )
    assert share_graph_weights(["a", "b", "image"], image) == pytest.approx(
        {"a": 0.45, "b": 0.45, "image": 0.1}
    )
    assert share_graph_weights(["image"], image) == {"image": 1.0}
    assert share_graph_weights(["a", "b"], image) == {"a": 0.5, "b": 0.5}


def test_impossible_graph_weights_are_rejected():
    with pytest.raises(InputError, match="nothing is left for b"):
        share_graph_weights(["image", "a", "b"], {"image": 0.6, "a": 0.6})
    with pytest.raises(InputError, match="all 0"):
        share_graph_weights(["image"], {"image": 0.0})
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="graph_weights"):
            FREEDOM.Config(graph_weights={"image": value})
