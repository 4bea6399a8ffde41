"""Ranking on the device that holds the scores, with the choice and order of `top_positions`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sgurinit._device_top_k import find_highest


class DeviceEntries:
    """The entries of a sparse matrix on a device, in the order of its rows.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, m)
        The matrix. Only the places of its entries are kept.
    device : torch.device
        Where the entries are.
    """

    def __init__(self, matrix: sparse.csr_array[Any], device: torch.device) -> None:
        matrix = matrix.sorted_indices()
        self.offsets: np.ndarray[Any, Any] = matrix.indptr
        self.width = matrix.shape[1]
        counts = np.diff(self.offsets).astype(np.int64)
        rows = np.repeat(np.arange(len(counts)), counts)
        self.counts = torch.from_numpy(counts).to(device)
        columns = matrix.indices.astype(np.int64)
        self.rows = torch.from_numpy(rows).to(device)
        self.columns = torch.from_numpy(columns).to(device)
        # Ascending, since the columns of each row are.
        self._keys = torch.from_numpy(rows * self.width + columns).to(device)

    def places(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the rows, counted from `start`, and the columns of the entries of some rows."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return self.rows[first:last] - start, self.columns[first:last]

    def contain(self, start: int, columns: Tensor) -> Tensor:
        """Return which of the columns ``(b, k)`` are entries of the rows from `start` on."""
        rows = torch.arange(start, start + len(columns), device=columns.device)
        wanted = rows[:, None] * self.width + columns
        at = torch.searchsorted(self._keys, wanted).clamp(max=len(self._keys) - 1)
        return (self._keys[at] == wanted) & (columns >= 0)


def rank_scores(scores: Tensor, k: int, hidden: tuple[Tensor, Tensor]) -> Tensor:
    """Find the best items of each row, as `top_positions` does, without a transfer.

    Parameters
    ----------
    scores : Tensor of float32, shape (n, n_items)
        Scores; higher is better. ``-inf`` is never selected. They are the same afterwards.
    k : int
        Length of the lists, at least 1.
    hidden : tuple of Tensor of int64
        Rows and columns of scores that are never selected.

    Returns
    -------
    Tensor of int64, shape (n, k)
        Positions, -1 where no item is left. A score of NaN that is not hidden is first.
    """
    # Masked in place and restored, because a copy of all scores takes as long as their ranking.
    kept = scores[hidden]
    scores[hidden] = -torch.inf
    try:
        return find_highest(scores, k)
    finally:
        scores[hidden] = kept


def is_ranked_there(scores: Tensor) -> bool:
    """Return whether scores are ranked on their device; if not, on the CPU.

    Scores of 64 bits do not fit into an integer together with a position.
    """
    return scores.is_cuda and scores.dtype != torch.float64
