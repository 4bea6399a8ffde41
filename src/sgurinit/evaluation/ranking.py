"""Full ranking: every item that the user has not trained on is a candidate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import sparse

from sgurinit._device_top_k import count_rows
from sgurinit._top_k import refuse_nan, top_positions
from sgurinit.errors import InputError
from sgurinit.evaluation._on_device import DeviceEntries, is_ranked_there, rank_scores
from sgurinit.evaluation.metrics import (
    CUTOFFS,
    check_cutoffs,
    compute_metrics,
    name_metrics,
    score_hits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgurinit.data import Dataset

Split = Literal["valid", "test"]

_BLOCK_SIZE = 1024
_BLOCK_SCORES = 1 << 26  # scores in memory at a time, a quarter of a gigabyte


def top_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Find the best items of each row, exactly, best first.

    Equal scores are ordered by item position, lower first, within the list and at its end. So a
    ranking only depends on the scores.

    Parameters
    ----------
    scores : Tensor, shape (n, n_items)
        Scores; higher is better. ``-inf`` is never recommended.
    k : int
        Length of the lists, at least 1.

    Returns
    -------
    Tensor of int64, shape (n, k)
        Item positions, on the CPU; -1 if no item is left to recommend.

    Raises
    ------
    InputError
        A score is NaN.

    See Also
    --------
    compute_metrics : Metrics of such lists.
    FullRanking : Evaluates a model on a data set.

    Examples
    --------
    >>> import torch
    >>> top_k(torch.tensor([[0.0, 2.0, 1.0, 2.0]]), 3)
    tensor([[1, 3, 2]])
    """
    return torch.from_numpy(top_positions(_as_array(scores), k))


def _as_array(scores: torch.Tensor) -> np.ndarray:
    """View `scores` as NumPy, without a copy if they are float32 or float64 on the CPU."""
    values = scores.detach()
    if values.dtype not in {torch.float32, torch.float64}:
        values = values.float()
    return values.cpu().numpy()


class FullRanking:
    """Evaluation on one split of a data set, by ranking all items for each user.

    Users with at least one positive item in the split are evaluated, as is usual in the literature.
    For each of them, all items are ranked except for those that the user has trained on.

    Parameters
    ----------
    dataset : Dataset
        Interactions with their splits.
    split : {"valid", "test"}
        Split whose interactions are the positives.
    mask_valid : bool, default False
        Also leave validation items out of the test ranking. The literature's protocol keeps them.
        No effect on ``"valid"``.
    block_size : int, optional
        Users scored together, at least 1. A block needs memory for ``block_size * n_items`` scores.
        Default: 1024, fewer with more than 65,536 items, so that a block has 2**26 scores at most,
        and on a CUDA device as many as fit into a quarter of the free memory.
    cutoffs : sequence of int, default (5, 10, 20, 50)
        List lengths k of the metrics, each at least 1.
    positives : numpy.ndarray of bool, shape (n_items,), optional
        Items that count as positives; all if None. Users without any are not evaluated.
    candidates : numpy.ndarray of bool, shape (n_items,), optional
        Items that are ranked; all if None.

    Attributes
    ----------
    users : numpy.ndarray of int64, shape (n_evaluated,)
        Positions of the users that are evaluated, ascending.

    Raises
    ------
    InputError
        `split`, `block_size` or `cutoffs` is not valid, or no user has a positive item.

    See Also
    --------
    compute_metrics : The metrics.
    make_group_rankings : Rankings for groups of items.
    sgurinit.train : Uses a ranking of the validation split for early stopping.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> dataset = planted(200, 100)
    >>> ranking = FullRanking(dataset, "test")
    >>> scores = ranking.evaluate(LightGCN(dataset).make_scorer())
    >>> scores["recall@20"].shape == ranking.users.shape
    True
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        mask_valid: bool = False,
        block_size: int | None = None,
        cutoffs: Sequence[int] = CUTOFFS,
        positives: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
    ) -> None:
        if split not in {"valid", "test"}:
            raise InputError(f"split is {split!r}, expected 'valid' or 'test'")
        if block_size is not None and block_size < 1:
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
        self._left_out = np.arange(0) if candidates is None else np.flatnonzero(~candidates)
        self.users: np.ndarray = np.flatnonzero(np.diff(right.indptr)).astype(np.int64)
        if len(self.users) == 0:
            raise InputError(
                f"data set {dataset.name!r}: no user has a {split} interaction, expected at least "
                "one; supply another split"
            )

        # Row r of both is user `users[r]`.
        self._positives: sparse.csr_array[Any] = right[self.users]
        self._seen: sparse.csr_array[Any] = sparse.csr_array(seen)[self.users]
        self._on: dict[torch.device, tuple[DeviceEntries, DeviceEntries, torch.Tensor]] = {}

    def evaluate(self, score: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, np.ndarray]:
        """Compute the metrics of all users of the split.

        Scores on a CUDA device are ranked there, with the same choice and order of items.

        Parameters
        ----------
        score : callable
            Takes user positions, an int64 tensor ``(b,)`` on the CPU, and returns their scores of
            all items, ``(b, n_items)``. See `Recommender.make_scorer`. The scores are unchanged
            afterwards.

        Returns
        -------
        dict of str to numpy.ndarray of float64, shape (n_evaluated,)
            Values under names like ``"recall@20"``, in the order of `users`.

        Raises
        ------
        InputError
            The scores have another shape or contain NaN.
        """
        fitting = max(1, min(_BLOCK_SIZE, _BLOCK_SCORES // self._positives.shape[1]))
        start, size = 0, self.block_size or fitting
        names = name_metrics(self.cutoffs)
        # Filled in place: parts that stay between blocks would split freed memory, so that the next
        # block needs new memory.
        found = torch.empty(len(names), len(self.users), dtype=torch.float64)
        while start < len(self.users):
            users = self.users[start : start + size]
            scores = score(torch.from_numpy(users)).detach()
            expected = (len(users), self._positives.shape[1])
            if tuple(scores.shape) != expected:
                raise InputError(f"scores have shape {tuple(scores.shape)}, expected {expected}")
            on_device = is_ranked_there(scores)
            if on_device:
                found = found.to(scores.device)
            rank = self._rank_there if on_device else self._rank_here
            found[:, start : start + len(users)] = rank(start, scores)
            start += len(users)
            if on_device and self.block_size is None:
                size = count_rows(expected[1], scores.device)
        values = found.cpu().numpy()
        refuse_nan(values.T)
        return dict(zip(names, values, strict=True))

    def _rank_here(self, start: int, scores: torch.Tensor) -> torch.Tensor:
        """Compute the metrics ``(n_metrics, b)`` of the users from `start` on, on the CPU."""
        values = _as_array(scores)
        if not values.flags.c_contiguous:  # a mask on an expanded row would affect all users
            values = np.ascontiguousarray(values)
        if len(self._left_out):
            values = values.copy()
            values[:, self._left_out] = -np.inf
        stop = start + len(values)
        seen = self._seen[start:stop]
        rows = np.repeat(np.arange(len(values)), np.diff(seen.indptr))
        kept = values[rows, seen.indices]
        # Masked in place and restored, because copying the block takes as long as ranking it.
        values[rows, seen.indices] = -np.inf
        try:
            ranked = top_positions(values, self.cutoffs[-1])
        finally:
            values[rows, seen.indices] = kept
        found = compute_metrics(ranked, self._positives[start:stop], self.cutoffs)
        return torch.from_numpy(np.stack(list(found.values())))

    @torch.inference_mode()  # which the scores may come from, and can then be changed only in it
    def _rank_there(self, start: int, scores: torch.Tensor) -> torch.Tensor:
        """Compute the same on the device of the scores, NaN for users with a score of NaN."""
        device = scores.device
        if device not in self._on:
            self._on[device] = (
                DeviceEntries(self._positives, device),
                DeviceEntries(self._seen, device),
                torch.from_numpy(self._left_out).to(device),
            )
        positives, seen, left_out = self._on[device]
        stop = start + len(scores)
        scores = scores.float().contiguous()  # a mask on an expanded row would affect all users
        hidden = seen.places(start, stop)
        if len(left_out):
            scores = scores.index_fill(1, left_out, -torch.inf)
        ranked = rank_scores(scores, self.cutoffs[-1], hidden)
        hits = positives.contain(start, ranked)
        found = score_hits(hits, positives.counts[start:stop], self.cutoffs)
        first = scores.gather(1, ranked[:, :1].clamp(min=0)).squeeze(1)  # NaN if there is any
        return found.masked_fill(first.isnan(), torch.nan)
