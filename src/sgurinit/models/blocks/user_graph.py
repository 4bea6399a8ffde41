"""The graph of users who interacted with the same items."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from sgurinit.models.blocks._csr import Sparse
from sgurinit.models.blocks.graph_cache import cached_graph

BLOCK_PAIRS = 1 << 22  # pairs of users counted at a time


@cached_graph(version=1)
def count_co_interactions(interactions: Sparse, k: int) -> Sparse:
    """Find each user's `k` nearest other users by the number of items that both interacted with.

    Users are counted in blocks whose pairs fit in a bounded memory, so the users x users matrix
    never exists as a whole, not even in sparse form. The graph is kept on disk, see `cached_graph`.

    Parameters
    ----------
    interactions : scipy.sparse.csr_array, shape (n_users, n_items)
        Interactions. An entry counts once, whatever its value.
    k : int
        Other users kept per user, at least 1. Among users with equal counts, those with the lower
        positions are kept.

    Returns
    -------
    scipy.sparse.csr_array
        Counts, float32, ``(n_users, n_users)``. A row has fewer than `k` entries if fewer users
        share an item with the user.
    """
    csr: Sparse = sp.csr_array(interactions, dtype=np.float32, copy=True)
    csr.data[:] = 1
    n_users = csr.shape[0]
    transposed: Sparse = sp.csr_array(csr.T)
    # Upper bound of the users that a user can share an item with: the size of a block's product is
    # known before it is computed.
    pairs = np.minimum(csr @ transposed.sum(axis=1), n_users).astype(np.int64)
    blocks = np.cumsum(pairs) // BLOCK_PAIRS
    starts = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
    parts = [
        _keep_largest(csr[first:last] @ transposed, first, k)
        for first, last in zip(starts, [*starts[1:], n_users], strict=True)
    ]
    return sp.csr_array(sp.vstack(parts, format="csr"))


def _keep_largest(counts: Sparse, first: int, k: int) -> Sparse:
    """Keep the `k` largest counts of each row, except for the user's count with itself.

    The block's first row is that of user `first`.
    """
    counts = sp.coo_array(counts)
    others = counts.row + first != counts.col
    row, column, count = counts.row[others], counts.col[others], counts.data[others]
    order = np.lexsort((column, -count, row))
    sizes = np.bincount(row, minlength=counts.shape[0])
    rank = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[rank < k]
    return sp.csr_array((count[kept], (row[kept], column[kept])), shape=counts.shape)


class NeighborMean(nn.Module):
    """Mean of the neighbors' rows, weighted by the softmax of the edges' weights.

    A constant: it moves between devices with the model and is not part of its state dict.

    Parameters
    ----------
    graph : scipy.sparse.csr_array, shape (n, n)
        Graph with few entries per row. A row without entries has the mean 0.

    See Also
    --------
    count_co_interactions : The graph that DualGNN and DRAGON pass.
    """

    neighbors: Tensor
    weights: Tensor

    def __init__(self, graph: Sparse) -> None:
        super().__init__()
        csr = sp.csr_array(graph)
        sizes = np.diff(csr.indptr)
        filled = np.arange(max(1, sizes.max(initial=0))) < sizes[:, None]
        neighbors = np.zeros(filled.shape, np.int64)
        neighbors[filled] = csr.indices
        logits = np.full(filled.shape, -np.inf)
        logits[filled] = csr.data
        highest = logits.max(axis=1, keepdims=True)
        weights = np.exp(logits - np.where(np.isfinite(highest), highest, 0))
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
        self.register_buffer("neighbors", torch.from_numpy(neighbors), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Average neighbors over the table `x` ``(n, d)``, for the given `rows` ``(b,)`` or all."""
        neighbors, weights = self.neighbors, self.weights
        if rows is not None:
            neighbors, weights = neighbors[rows], weights[rows]
        return functional.embedding_bag(neighbors, x, per_sample_weights=weights, mode="sum")
