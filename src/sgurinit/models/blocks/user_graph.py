"""The graph of users who interacted with the same items."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from sgurinit.models.blocks.cache import cached_graph
from sgurinit.models.blocks.graphs import Sparse

BLOCK_PAIRS = 1 << 22


@cached_graph(version=1)
def co_interactions(interactions: Sparse, k: int) -> Sparse:
    """Each user's `k` nearest other users by the number of items that both interacted with.

    Counts are made for blocks of users whose pairs fit in a bounded memory, so neither the users x
    users matrix nor its sparse form ever exists as a whole.

    Parameters
    ----------
    interactions
        R, sparse ``(n_users, n_items)``; an entry counts once, whatever its value.
    k
        Users kept per user, the user itself excluded. Of users with equal counts those with the
        lower positions are kept.

    Returns
    -------
    scipy.sparse.csr_array
        Counts, float32, ``(n_users, n_users)``. A row has fewer than `k` entries where fewer users
        share an item with the user.
    """
    csr: Sparse = sp.csr_array(interactions, dtype=np.float32, copy=True)
    csr.data[:] = 1
    n_users = csr.shape[0]
    transposed: Sparse = sp.csr_array(csr.T)
    # A user can meet at most this many others, so a block's size is known before it is made.
    pairs = np.minimum(csr @ transposed.sum(axis=1), n_users).astype(np.int64)
    blocks = np.cumsum(pairs) // BLOCK_PAIRS
    starts = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
    parts = [
        _nearest(csr[first:last] @ transposed, first, k)
        for first, last in zip(starts, [*starts[1:], n_users], strict=True)
    ]
    return sp.csr_array(sp.vstack(parts, format="csr"))


def _nearest(counts: Sparse, first: int, k: int) -> Sparse:
    """Largest `k` counts of each row but the user's own; the block's rows begin with `first`."""
    counts = sp.coo_array(counts)
    others = counts.row + first != counts.col
    row, column, count = counts.row[others], counts.col[others], counts.data[others]
    order = np.lexsort((column, -count, row))
    sizes = np.bincount(row, minlength=counts.shape[0])
    rank = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[rank < k]
    return sp.csr_array((count[kept], (row[kept], column[kept])), shape=counts.shape)


class NeighbourMean(nn.Module):
    """Mean of the neighbours' rows, weighted by the softmax of the edges' weights.

    A constant: it moves between devices with the model and stays out of its saved state.

    Parameters
    ----------
    graph
        Sparse ``(n, n)`` with few entries a row. A row without entries has the mean 0.
    """

    neighbours: Tensor
    weights: Tensor

    def __init__(self, graph: Sparse) -> None:
        super().__init__()
        csr = sp.csr_array(graph)
        sizes = np.diff(csr.indptr)
        filled = np.arange(max(1, sizes.max(initial=0))) < sizes[:, None]
        neighbours = np.zeros(filled.shape, np.int64)
        neighbours[filled] = csr.indices
        logits = np.full(filled.shape, -np.inf)
        logits[filled] = csr.data
        highest = logits.max(axis=1, keepdims=True)
        weights = np.exp(logits - np.where(np.isfinite(highest), highest, 0))
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
        self.register_buffer("neighbours", torch.from_numpy(neighbours), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Means over the table `x` ``(n, d)`` for the given `rows` ``(b,)``, else for all."""
        neighbours, weights = self.neighbours, self.weights
        if rows is not None:
            neighbours, weights = neighbours[rows], weights[rows]
        return functional.embedding_bag(neighbours, x, per_sample_weights=weights, mode="sum")
