"""Training batches: an epoch's order and its negatives, drawn in one vectorised go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sgurinit.errors import InputError
from sgurinit.models import Batch
from sgurinit.seeds import generator

if TYPE_CHECKING:
    from sgurinit.data import Dataset

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class TripleSampler:
    """Shuffled (user, positive, negative) triples of a data set's training interactions.

    An epoch's triples depend on the seed and the epoch's number alone, so two runs that differ in
    something else see the same triples, and a resumed run goes on with the right ones.

    Parameters
    ----------
    dataset
        Its training interactions are the positives.
    batch_size
        Triples per batch; the last batch of an epoch may be smaller.
    seed
        The run's seed. Order and negatives draw from streams of their own.
    negatives
        ``"seen"``: negatives are uniform over the items with a training interaction that the user
        has not trained on; ``"all"``: over all items that the user has not trained on.

    Raises
    ------
    InputError
        A user has trained on every candidate, so that no negative exists.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        negatives: Literal["seen", "all"] = "seen",
    ) -> None:
        self.users: IntArray = np.asarray(dataset.train.users, dtype=np.int64)
        self.positives: IntArray = np.asarray(dataset.train.items, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.n_items = dataset.n_items
        seen = np.unique(self.positives)
        self.candidates: IntArray = np.arange(self.n_items) if negatives == "all" else seen
        # One sorted key per training pair turns "is a positive of this user" into a binary search.
        self._pairs: IntArray = np.sort(self.users * self.n_items + self.positives)
        degrees = np.bincount(self.users)
        if degrees.max() >= len(self.candidates):
            user = dataset.user_ids[int(degrees.argmax())]
            raise InputError(
                f"data set {dataset.name!r}: user {user} has trained on all "
                f"{len(self.candidates)} candidate items, so no negative can be drawn; remove the "
                "user or add items"
            )

    def epoch(self, number: int) -> list[Batch]:
        """Batches of epoch `number`, each training interaction once, in a fresh order."""
        order = generator(self.seed, "batches", number).permutation(len(self.users))
        users, positives = self.users[order], self.positives[order]
        negatives = self._draw(users, generator(self.seed, "negatives", number))
        columns = [torch.from_numpy(column) for column in (users, positives, negatives)]
        return [
            Batch(*parts)
            for parts in zip(*(c.split(self.batch_size) for c in columns), strict=True)
        ]

    def _draw(self, users: IntArray, rng: np.random.Generator) -> IntArray:
        """One candidate per user that the user has not trained on, uniform over those."""
        drawn = rng.choice(self.candidates, size=len(users))
        wrong = np.flatnonzero(self._is_positive(users, drawn))
        while len(wrong):
            drawn[wrong] = rng.choice(self.candidates, size=len(wrong))
            wrong = wrong[self._is_positive(users[wrong], drawn[wrong])]
        return drawn

    def _is_positive(self, users: IntArray, items: IntArray) -> BoolArray:
        wanted = users * self.n_items + items
        at = np.searchsorted(self._pairs, wanted)
        found: BoolArray = self._pairs[np.minimum(at, len(self._pairs) - 1)] == wanted
        return found
