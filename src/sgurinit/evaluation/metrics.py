"""Ranking metrics with binary relevance, per user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sgurinit.errors import InputError

METRICS = ("recall", "ndcg", "precision", "map", "mrr", "hit_rate")
CUTOFFS = (5, 10, 20, 50)


def check_cutoffs(cutoffs: Sequence[int]) -> tuple[int, ...]:
    """Return the cut-offs as an ascending tuple without repeats.

    Parameters
    ----------
    cutoffs : sequence of int
        List lengths k.

    Raises
    ------
    InputError
        There are no cut-offs, or one is below 1.
    """
    ordered = tuple(sorted(set(cutoffs)))
    if not ordered or ordered[0] < 1:
        raise InputError(f"cutoffs are {tuple(cutoffs)}, expected at least one, each 1 or more")
    return ordered


def compute_metrics(
    ranked: np.ndarray,
    positives: sparse.csr_array[Any],
    cutoffs: Sequence[int] = CUTOFFS,
) -> dict[str, np.ndarray]:
    r"""Compute the metrics of ranked lists, per user.

    With the hit indicator :math:`h_r` at rank r = 1..k and :math:`P` positives of a user:

    ======== =============================================================================
    recall   :math:`\sum_r h_r / P`
    ndcg     :math:`\sum_r h_r / \log_2(r+1)` over the same sum for ``min(k, P)`` hits first
    precision :math:`\sum_r h_r / k`
    map      :math:`\sum_r h_r (\sum_{s \le r} h_s / r) / P`
    mrr      1 / rank of the first hit, 0 without one
    hit_rate 1 with a hit, else 0
    ======== =============================================================================

    Parameters
    ----------
    ranked : numpy.ndarray of int, shape (n, depth)
        Item positions, best first, -1 for an empty place. A list shorter than a cut-off counts as
        padded with misses.
    positives : scipy.sparse.csr_array, shape (n, n_items)
        The stored entries are the positive items; at least one in every row.
    cutoffs : sequence of int, default (5, 10, 20, 50)
        List lengths k of the metrics, each at least 1.

    Returns
    -------
    dict of str to numpy.ndarray of float64, shape (n,)
        Values in [0, 1] under the names ``"<metric>@<k>"``, in the order of `METRICS`, k ascending.

    Raises
    ------
    InputError
        The number of rows differs, a user has no positive item, or a cut-off is below 1.

    See Also
    --------
    FullRanking : Ranks the items of a data set and computes these metrics.
    top_k : Makes ranked lists.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> positives = sparse.csr_array(np.array([[1, 0, 0, 1]]))
    >>> scores = compute_metrics(np.array([[2, 3, 1]]), positives, cutoffs=[2])
    >>> float(scores["recall@2"][0]), float(scores["mrr@2"][0])
    (0.5, 0.5)
    """
    cutoffs = check_cutoffs(cutoffs)
    if len(ranked) != positives.shape[0]:
        raise InputError(f"ranked has {len(ranked)} rows, expected {positives.shape[0]}")
    if not positives.has_canonical_format:
        positives = positives.copy()
        positives.sum_duplicates()
    n_positives = np.diff(positives.indptr)
    if len(n_positives) and n_positives.min() < 1:
        row = int(np.argmin(n_positives))
        raise InputError(f"row {row} of positives is empty, expected at least one positive item")
    hits = torch.from_numpy(_mark_hits(ranked, positives, cutoffs[-1]))
    values = score_hits(hits, torch.from_numpy(n_positives.astype(np.int64)), cutoffs).numpy()
    return dict(zip(name_metrics(cutoffs), values, strict=True))


def name_metrics(cutoffs: Sequence[int]) -> list[str]:
    """Return the names of all metrics, ``"<metric>@<k>"``, in the order of `score_hits`."""
    return [f"{metric}@{k}" for metric in METRICS for k in cutoffs]


def score_hits(hits: Tensor, n_positives: Tensor, cutoffs: Sequence[int]) -> Tensor:
    """Compute the metrics of lists whose hits are known, on the device of `hits`.

    Parameters
    ----------
    hits : Tensor of bool, shape (n, depth)
        Whether the item at each rank is positive.
    n_positives : Tensor of int64, shape (n,)
        Positive items of each user, at least 1.
    cutoffs : sequence of int
        List lengths, ascending, the last one `depth`.

    Returns
    -------
    Tensor of float64, shape (n_metrics, n)
        A row per name of `name_metrics`.
    """
    device = hits.device
    ranks = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=device)
    discounts = 1 / torch.log2(ranks + 1)
    found = torch.cumsum(hits, dim=1)
    gain = torch.cumsum(hits * discounts, dim=1)
    best_gain = torch.cumsum(discounts, dim=0)
    precisions = torch.cumsum(hits * (found / ranks), dim=1)
    first = torch.where(hits.any(dim=1), hits.int().argmax(dim=1).double() + 1, torch.inf)
    at = {k: found[:, k - 1].double() for k in cutoffs}
    metrics: dict[str, Callable[[int], Tensor]] = {
        "recall": lambda k: at[k] / n_positives,
        "ndcg": lambda k: gain[:, k - 1] / best_gain[n_positives.clamp(max=k) - 1],
        "precision": lambda k: at[k] / k,
        "map": lambda k: precisions[:, k - 1] / n_positives,
        "mrr": lambda k: (first <= k) / first,
        "hit_rate": lambda k: (at[k] > 0).double(),
    }
    return torch.stack([metrics[metric](k) for metric in METRICS for k in cutoffs])


def _mark_hits(ranked: np.ndarray, positives: sparse.csr_array[Any], depth: int) -> np.ndarray:
    """Mark the positive items at each rank, ``(n, depth)`` bool."""
    n, n_items = positives.shape
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(positives.indptr))
    keys = rows * n_items + positives.indices  # ascending, as the format is canonical
    hits = np.zeros((n, depth), dtype=bool)
    shown = ranked[:, :depth]
    shown_keys = np.arange(n, dtype=np.int64)[:, None] * n_items + shown
    at = np.minimum(np.searchsorted(keys, shown_keys), max(len(keys) - 1, 0))
    if len(keys):
        hits[:, : shown.shape[1]] = (keys[at] == shown_keys) & (shown >= 0)
    return hits
