"""Full ranking: every item the user has not trained on is a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import sparse

from sgurinit.errors import InputError
from sgurinit.evaluation.metrics import CUTOFFS, METRICS, check_cutoffs, per_user_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgurinit.data.dataset import Dataset

Split = Literal["valid", "test"]


def top_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Best items of each row, exactly, best first.

    Equal scores are ordered by item position, lower first, inside the list as well as at its end,
    so that a ranking is a function of the scores alone.

    Parameters
    ----------
    scores
        ``(n, n_items)`` scores, higher is better; ``-inf`` is never recommended.
    k
        Length of the lists, at least 1.

    Returns
    -------
    torch.Tensor
        ``(n, k)`` int64 item positions on the CPU, -1 where nothing is left to recommend.

    Raises
    ------
    InputError
        A score is NaN.
    """
    return torch.from_numpy(_top_positions(_as_array(scores), k))


def _as_array(scores: torch.Tensor) -> np.ndarray:
    """View `scores` as NumPy, without a copy where they are float32 or float64 on the CPU."""
    values = scores.detach()
    if values.dtype not in {torch.float32, torch.float64}:
        values = values.float()
    return values.cpu().numpy()


def _top_positions(values: np.ndarray, k: int) -> np.ndarray:
    """`top_k` on an array.

    The k-th largest of the maxima of disjoint groups of items bounds the k-th largest score from
    below, and is much cheaper than a selection over all items. What reaches the bound is a little
    over k entries a row, every tie at the end of the list among them; a stable sort of those, which
    come by position, is the answer.
    """
    n_rows = len(values)
    ranked = np.full((n_rows, k), -1, dtype=np.int64)
    if values.size == 0:
        return ranked
    bound = _lower_bound(values, k)
    rows, columns = np.divmod(np.flatnonzero(values >= bound), values.shape[1])
    counts = np.bincount(rows, minlength=n_rows)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(int(counts.max()), k)
    negated = np.full((n_rows, width), np.inf, dtype=values.dtype)
    negated[rows, slots] = -values[rows, columns]
    candidates = np.full((n_rows, width), -1, dtype=np.int64)
    candidates[rows, slots] = columns
    order = np.argsort(negated, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(candidates, order, axis=1)


def _lower_bound(values: np.ndarray, k: int) -> np.ndarray:
    """``(n, 1)`` a finite number that at least the k best finite scores of each row reach."""
    n_rows, n_items = values.shape
    # About sqrt(n_items / k) items a group makes both the maxima and what passes the bound few.
    size = max(1, round((n_items / k) ** 0.5))
    n_groups = n_items // size
    grouped = values[:, : size * n_groups].reshape(n_rows, size, n_groups)
    maxima = grouped.max(axis=1)
    tail = values[:, size * n_groups :]
    _refuse_nan(maxima)
    _refuse_nan(tail)
    lowest = np.finfo(values.dtype).min
    if k > n_groups:
        return np.full((n_rows, 1), lowest, dtype=values.dtype)
    at = n_groups - k
    return np.maximum(np.partition(maxima, at, axis=1)[:, at : at + 1], lowest)


def _refuse_nan(values: np.ndarray) -> None:
    bad = np.isnan(values)
    if bad.any():
        row = int(np.flatnonzero(bad.any(axis=1))[0])
        raise InputError(
            f"scores to rank: row {row} holds NaN, expected numbers; the model has diverged, "
            "try a lower learning rate"
        )


class FullRanking:
    """What to rank for whom in one split of a data set.

    Users with at least one positive item in the split are scored, as is usual in the literature.
    Each is ranked over all items but those it has trained on.

    Parameters
    ----------
    dataset
        Interactions with their splits.
    split
        ``"valid"`` or ``"test"``: whose items are the positives.
    mask_valid
        Also leave validation items out of the test ranking. The literature's protocol leaves them
        in, so the default is False. Without effect on ``"valid"``.
    block_size
        Users scored together, at least 1; memory is ``block_size * n_items`` scores.
    cutoffs
        List lengths k of the metrics, each at least 1.
    positives
        ``(n_items,)`` bool, the items that count as positives; all where None. Users without any
        are not scored.
    candidates
        ``(n_items,)`` bool, the items that are ranked; all where None.

    Attributes
    ----------
    users : numpy.ndarray
        ``(n_scored,)`` int64 positions of the users that are scored, ascending.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        mask_valid: bool = False,
        block_size: int = 1024,
        cutoffs: Sequence[int] = CUTOFFS,
        positives: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
    ) -> None:
        if split not in {"valid", "test"}:
            raise InputError(f"split is {split!r}, expected 'valid' or 'test'")
        if block_size < 1:
            raise InputError(f"block_size is {block_size}, expected at least 1")
        self.cutoffs = check_cutoffs(cutoffs)
        self.block_size = block_size
        shape = (dataset.n_users, dataset.n_items)
        right = sparse.csr_array(getattr(dataset, split).matrix(*shape))
        if positives is not None:
            right.data *= positives[right.indices]
            right.eliminate_zeros()
        seen = dataset.train_matrix()
        if mask_valid and split == "test":
            seen = seen + dataset.valid.matrix(*shape)
        self._positives: sparse.csr_array[Any] = right
        self._seen: sparse.csr_array[Any] = sparse.csr_array(seen)
        self._left_out = None if candidates is None else np.flatnonzero(~candidates)
        self.users: np.ndarray = np.flatnonzero(np.diff(self._positives.indptr)).astype(np.int64)
        if len(self.users) == 0:
            raise InputError(
                f"data set {dataset.name!r}: no user has a {split} interaction, expected at least "
                "one; supply another split"
            )

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the positions of the scored users, `block_size` at a time."""
        for start in range(0, len(self.users), self.block_size):
            yield self.users[start : start + self.block_size]

    def score_block(self, users: np.ndarray, scores: torch.Tensor) -> dict[str, np.ndarray]:
        """Judge the scores of some users.

        Parameters
        ----------
        users
            ``(b,)`` positions of the users, each with a positive in the split.
        scores
            ``(b, n_items)`` their scores over all items. They are unchanged afterwards.

        Returns
        -------
        dict
            ``"recall@20"`` and so on -> ``(b,)`` float64.

        Raises
        ------
        InputError
            The scores have another shape or hold NaN.
        """
        expected = (len(users), self._positives.shape[1])
        if tuple(scores.shape) != expected:
            raise InputError(f"scores have shape {tuple(scores.shape)}, expected {expected}")
        values = _as_array(scores)
        if not values.flags.c_contiguous:  # an expanded row would be masked for everyone
            values = np.ascontiguousarray(values)
        if self._left_out is not None:
            values = values.copy()
            values[:, self._left_out] = -np.inf
        seen = self._seen[users]
        rows = np.repeat(np.arange(len(users)), np.diff(seen.indptr))
        kept = values[rows, seen.indices]
        # Masked in place and put back: a copy of the block costs as much as ranking it.
        values[rows, seen.indices] = -np.inf
        try:
            ranked = _top_positions(values, self.cutoffs[-1])
        finally:
            values[rows, seen.indices] = kept
        return per_user_metrics(ranked, self._positives[users], self.cutoffs)

    def evaluate(self, score: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, np.ndarray]:
        """Judge a scorer on all users of the split.

        Parameters
        ----------
        score
            Takes ``(b,)`` int64 user positions, gives ``(b, n_items)`` scores.

        Returns
        -------
        dict
            ``"recall@20"`` and so on -> ``(n_scored,)`` float64, in the order of `users`.
        """
        parts = [self.score_block(u, score(torch.from_numpy(u))) for u in self.blocks()]
        names = [f"{metric}@{k}" for metric in METRICS for k in self.cutoffs]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}
