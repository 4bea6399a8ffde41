"""Ranking metrics with binary relevance, per user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

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
    hits = _mark_hits(ranked, positives, cutoffs[-1])
    n_positives = np.diff(positives.indptr)
    if len(n_positives) and n_positives.min() < 1:
        row = int(np.argmin(n_positives))
        raise InputError(f"row {row} of positives is empty, expected at least one positive item")
    ranks = np.arange(1, cutoffs[-1] + 1)
    discounts = 1.0 / np.log2(ranks + 1.0)
    found = np.cumsum(hits, axis=1)
    gain = np.cumsum(hits * discounts, axis=1)
    best_gain = np.cumsum(discounts)
    precisions = np.cumsum(hits * (found / ranks), axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.iinfo(np.int64).max)

    scores: dict[str, dict[int, np.ndarray]] = {metric: {} for metric in METRICS}
    for k in cutoffs:
        n_found = found[:, k - 1]
        scores["recall"][k] = n_found / n_positives
        scores["ndcg"][k] = gain[:, k - 1] / best_gain[np.minimum(n_positives, k) - 1]
        scores["precision"][k] = n_found / k
        scores["map"][k] = precisions[:, k - 1] / n_positives
        scores["mrr"][k] = np.where(first <= k, 1.0 / first, 0.0)
        scores["hit_rate"][k] = (n_found > 0).astype(np.float64)
    return {f"{metric}@{k}": scores[metric][k] for metric in METRICS for k in cutoffs}


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
