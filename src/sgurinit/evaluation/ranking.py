"""Full ranking: every item that the user has not trained on is a candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import sparse

from sgurinit._top_k import top_positions
from sgurinit.errors import InputError
from sgurinit.evaluation.metrics import CUTOFFS, METRICS, check_cutoffs, compute_metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sgurinit.data import Dataset

Split = Literal["valid", "test"]


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
    block_size : int, default 1024
        Users scored together, at least 1. A block needs memory for ``block_size * n_items`` scores.
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
        """Yield the positions of the evaluated users, `block_size` at a time."""
        for start in range(0, len(self.users), self.block_size):
            yield self.users[start : start + self.block_size]

    def score_block(self, users: np.ndarray, scores: torch.Tensor) -> dict[str, np.ndarray]:
        """Compute the metrics of some users from their scores.

        Parameters
        ----------
        users : numpy.ndarray of int, shape (b,)
            Positions of users that have a positive item in the split.
        scores : Tensor, shape (b, n_items)
            Their scores of all items. They are unchanged afterwards.

        Returns
        -------
        dict of str to numpy.ndarray of float64, shape (b,)
            Values under names like ``"recall@20"``.

        Raises
        ------
        InputError
            The scores have another shape or contain NaN.
        """
        expected = (len(users), self._positives.shape[1])
        if tuple(scores.shape) != expected:
            raise InputError(f"scores have shape {tuple(scores.shape)}, expected {expected}")
        values = _as_array(scores)
        if not values.flags.c_contiguous:  # a mask on an expanded row would affect all users
            values = np.ascontiguousarray(values)
        if self._left_out is not None:
            values = values.copy()
            values[:, self._left_out] = -np.inf
        seen = self._seen[users]
        rows = np.repeat(np.arange(len(users)), np.diff(seen.indptr))
        kept = values[rows, seen.indices]
        # Masked in place and restored, because copying the block takes as long as ranking it.
        values[rows, seen.indices] = -np.inf
        try:
            ranked = top_positions(values, self.cutoffs[-1])
        finally:
            values[rows, seen.indices] = kept
        return compute_metrics(ranked, self._positives[users], self.cutoffs)

    def evaluate(self, score: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, np.ndarray]:
        """Compute the metrics of all users of the split.

        Parameters
        ----------
        score : callable
            Takes user positions, an int64 tensor ``(b,)``, and returns their scores of all items,
            ``(b, n_items)``. See `Recommender.make_scorer`.

        Returns
        -------
        dict of str to numpy.ndarray of float64, shape (n_evaluated,)
            Values under names like ``"recall@20"``, in the order of `users`.

        Raises
        ------
        InputError
            The scores have another shape or contain NaN.
        """
        parts = [self.score_block(u, score(torch.from_numpy(u))) for u in self.blocks()]
        names = [f"{metric}@{k}" for metric in METRICS for k in self.cutoffs]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}
