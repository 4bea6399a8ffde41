"""The user-item graph of a sample of the interactions, drawn where the model is."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from sgurinit.models.blocks._csr import Csr, Sparse, find_offsets
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.random_bits import draw_uniform
from sgurinit.seeds import derive_seed


class SampledGraph(SparseGraph):
    """The symmetric graph of users and items over a sample of the interactions.

    Each sample has as many interactions as every other and is written to the same tensors, so a
    training step on it can be recorded. A sample depends only on the seed, not on the device.

    Parameters
    ----------
    weights : scipy.sparse.csr_array, shape (n_users, n_items)
        Positive weight of each interaction. Each one of a sample is drawn in proportion to the
        weights that are left.
    count : int
        Interactions in a sample, in [1, nnz].

    See Also
    --------
    sgurinit.models.FREEDOM : Draws a sample for every epoch.
    """

    users: Tensor
    items: Tensor
    weights: Tensor
    by_item: Tensor
    place: Tensor

    def __init__(self, weights: Sparse, count: int) -> None:
        ordered = sp.csr_array(weights, copy=True)
        ordered.sum_duplicates()
        edges = sp.coo_array(ordered)
        n_nodes = sum(edges.shape)
        super().__init__(sp.csr_array((n_nodes, n_nodes)), symmetric=True)
        self.n_users, self.n_items = edges.shape
        self.count = count
        by_item = np.lexsort((edges.row, edges.col))
        place = np.empty(len(by_item), np.int64)  # where by_item puts each interaction
        place[by_item] = np.arange(len(by_item))
        for name, array in {
            "users": edges.row.astype(np.int64),
            "items": edges.col.astype(np.int64),
            "weights": edges.data.astype(np.float64),
            "by_item": by_item,
            "place": place,
        }.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)
        self.store(self._build(0))

    def draw_(self, seed: int) -> None:
        """Replace the sample by another one.

        Parameters
        ----------
        seed : int >= 0
            Seed of the sample.
        """
        for held, drawn in zip(self.directions()[0], self._build(seed), strict=True):
            held.copy_(drawn)

    def _build(self, seed: int) -> Csr:
        by_user = sample_edges(self.weights, self.count, seed).sort().values
        by_item = self.by_item[self.place[by_user].sort().values]
        user_offsets = find_offsets(self.users[by_user], self.n_users)
        item_offsets = find_offsets(self.items[by_item], self.n_items)
        edges = torch.cat([by_user, by_item])
        users, items = self.users[edges], self.items[edges]
        weights = _invert_roots(user_offsets)[users] * _invert_roots(item_offsets)[items]
        first, second = slice(None, self.count), slice(self.count, None)
        index = self.directions()[0].columns.dtype
        return Csr(
            torch.cat([user_offsets, self.count + item_offsets[1:]]).to(index),
            torch.cat([self.n_users + items[first], users[second]]).to(index),
            weights.float(),
        )


def _invert_roots(offsets: Tensor) -> Tensor:
    """Compute ``1 / sqrt(degree)`` of each node, in float64; infinite where there is no edge."""
    return offsets.diff().double().rsqrt()


def sample_edges(weights: Tensor, count: int, seed: int) -> Tensor:
    """Draw edges without replacement, each draw in proportion to the weights that are left.

    The `count` smallest of independent exponential variables with these rates have the same
    distribution (Efraimidis and Spirakis, 2006), so one vectorized pass suffices.

    Parameters
    ----------
    weights : Tensor of float64, shape (n_edges,)
        Positive weights.
    count : int
        Number of edges to draw, in [1, n_edges].
    seed : int >= 0
        Seed of the sample. It is the same on every device.

    Returns
    -------
    Tensor of int64, shape (count,)
        Positions of the drawn edges, in no particular order.
    """
    places = torch.arange(len(weights), device=weights.device)
    arrival = -draw_uniform((derive_seed(seed, "edges"), 0), places).log() / weights
    return arrival.topk(count, largest=False, sorted=False).indices
