"""The distinct nodes of a batch, so that a step computes a popular node's row once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Distinct(NamedTuple):
    """The distinct nodes of a batch, and where the batch holds them.

    Attributes
    ----------
    nodes : Tensor of int64, shape (n,)
        Each node of the batch. On a CUDA device, n is the size of the batch: the nodes of the batch
        that are left over follow, each with a count of 0.
    rows : Tensor of int64, shape (batch,)
        Row of `nodes` that holds each element of the batch.
    counts : Tensor of int64, shape (n,)
        How often the batch holds each node.
    """

    nodes: Tensor
    rows: Tensor
    counts: Tensor


def find_distinct(batch: Tensor) -> Distinct:
    """Find the distinct nodes of a batch.

    Their number depends on the batch. The host would have to wait for a CUDA device to report it,
    so there the result has the size of the batch.

    Parameters
    ----------
    batch : Tensor of int64, shape (batch,)
        Positions of nodes, with repeats.

    Examples
    --------
    >>> import torch
    >>> find_distinct(torch.tensor([7, 3, 7])).nodes
    tensor([3, 7])
    """
    if not needs_fixed_shapes(batch):
        return Distinct(*batch.unique(return_inverse=True, return_counts=True))
    ascending, order = batch.sort(stable=True)
    is_first = torch.ones_like(ascending, dtype=torch.bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    rank = is_first.cumsum(0) - 1  # row of each element's node
    places = torch.arange(len(batch), device=batch.device)
    # What is left over fills the rows behind the distinct nodes. These are nodes of the batch, not
    # one node many times, because gradients for one row are added up one after the other.
    destination = torch.where(is_first, rank, rank[-1:] + places - rank)
    nodes = torch.empty_like(batch).scatter_(0, destination, ascending)
    rows = torch.empty_like(batch).scatter_(0, order, rank)
    counts = torch.zeros_like(batch).scatter_add_(0, rank, torch.ones_like(batch))
    return Distinct(nodes, rows, counts)


def needs_fixed_shapes(x: Tensor) -> bool:
    """Return whether the host waits for the device of `x` when a shape depends on data."""
    return x.is_cuda
