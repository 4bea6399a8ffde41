"""Training batches: the order of an epoch's triples and their negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from sgurinit.core.inputs.arrays import BoolArray, IntArray
from sgurinit.errors import InputError
from sgurinit.models import Batch
from sgurinit.seeds import make_generator

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class TripleSampler:
    """Shuffled (user, positive, negative) triples of a data set's training interactions.

    An epoch's triples depend only on the seed and the number of the epoch. So two runs that differ
    in anything else use the same triples, and a resumed run continues with the right ones.

    Parameters
    ----------
    dataset : Dataset
        Data set whose training interactions are the positives.
    batch_size : int
        Triples per batch, at least 1. The last batch of an epoch can be smaller.
    seed : int
        The run's seed. Order and negatives are drawn from separate random streams.
    negatives : {"seen", "all"}, default "seen"
        Items that negatives are drawn from, uniformly: ``"seen"`` are items with a training
        interaction, ``"all"`` are all items. Items that the user has trained on are never drawn.

    Raises
    ------
    InputError
        A user has trained on every candidate, so no negative exists.

    See Also
    --------
    sgurinit.train : Trains on these batches.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> batches = TripleSampler(planted(200, 100), 512, seed=0).epoch(0)
    >>> batches[0].users.shape
    torch.Size([512])
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
        # With one sorted key per training pair, a binary search finds a user's positives.
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
        """Draw the batches of an epoch: each training interaction once, in random order.

        Parameters
        ----------
        number : int
            Number of the epoch, from 0.

        Returns
        -------
        list of Batch
            The batches, on the CPU.
        """
        order = make_generator(self.seed, "batches", number).permutation(len(self.users))
        users, positives = self.users[order], self.positives[order]
        negatives = self._draw(users, make_generator(self.seed, "negatives", number))
        columns = [torch.from_numpy(column) for column in (users, positives, negatives)]
        return [
            Batch(*parts)
            for parts in zip(*(c.split(self.batch_size) for c in columns), strict=True)
        ]

    def _draw(self, users: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw one candidate per user, uniform over those that the user has not trained on."""
        drawn = rng.choice(self.candidates, size=len(users))
        wrong = np.flatnonzero(self._is_positive(users, drawn))
        while len(wrong):
            drawn[wrong] = rng.choice(self.candidates, size=len(wrong))
            wrong = wrong[self._is_positive(users[wrong], drawn[wrong])]
        return drawn

    def _is_positive(self, users: IntArray, items: IntArray) -> BoolArray:
        keys = users * self.n_items + items
        at = np.searchsorted(self._pairs, keys)
        found: BoolArray = self._pairs[np.minimum(at, len(self._pairs) - 1)] == keys
        return found
