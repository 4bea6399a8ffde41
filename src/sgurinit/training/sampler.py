"""Training batches: the order of an epoch's triples and their negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from sgurinit.errors import InputError
from sgurinit.models import Batch
from sgurinit.random_bits import draw_bits
from sgurinit.seeds import derive_seed

if TYPE_CHECKING:
    from sgurinit.data import Dataset

_MOST_ATTEMPTS = 100  # a user who has trained on 99% of the items could need thousands


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
        The run's seed.
    negatives : {"seen", "all"}, default "seen"
        Items that negatives are drawn from, uniformly: ``"seen"`` are items with a training
        interaction, ``"all"`` are all items, up to 2**31. Items that the user has trained on are
        never drawn.

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
        users = np.array(dataset.train.users, dtype=np.int64)
        positives = np.array(dataset.train.items, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.n_items = dataset.n_items
        candidates = np.arange(self.n_items) if negatives == "all" else np.unique(positives)
        # With one sorted key per training pair, a binary search finds a user's positives.
        pairs = np.sort(users * self.n_items + positives)
        self._tables = tuple(map(torch.from_numpy, (users, positives, candidates, pairs)))
        degrees = np.bincount(users)
        if degrees.max() >= len(candidates):
            user = dataset.user_ids[int(degrees.argmax())]
            raise InputError(
                f"data set {dataset.name!r}: user {user} has trained on all {len(candidates)} "
                "candidate items, so no negative can be drawn; remove the user or add items"
            )

    def epoch(self, number: int, device: torch.device | str = "cpu") -> list[Batch]:
        """Draw the batches of an epoch: each training interaction once, in random order.

        Parameters
        ----------
        number : int
            Number of the epoch, from 0.
        device : torch.device or str, default "cpu"
            Where the batches are drawn. They are the same on every device.

        Returns
        -------
        list of Batch
            The batches.
        """
        self._tables = tuple(table.to(device) for table in self._tables)
        users, positives, candidates, pairs = self._tables
        places = torch.arange(len(users), device=device)
        key = (derive_seed(self.seed, "batches", number), 0)

        def pick(word: Tensor) -> Tensor:
            return candidates[(word * len(candidates)) >> 32]

        high, low, word, _ = draw_bits(key, (places, 0, 0, 0))
        negatives = pick(word)
        wrong = places[_contains(pairs, users * self.n_items + negatives)]
        attempt = 0
        while len(wrong):
            attempt += 1
            word = draw_bits(key, (wrong, 0, attempt, 0))[2]
            if attempt > _MOST_ATTEMPTS:
                negatives[wrong] = self._pick_among_others(users[wrong], word)
                break
            drawn = pick(word)
            negatives[wrong] = drawn
            wrong = wrong[_contains(pairs, users[wrong] * self.n_items + drawn)]
        order = torch.argsort((high << 31) | (low >> 1), stable=True)
        columns = [column[order].split(self.batch_size) for column in (users, positives, negatives)]
        return [Batch(*parts) for parts in zip(*columns, strict=True)]

    def _pick_among_others(self, users: Tensor, words: Tensor) -> Tensor:
        """Pick one of the candidates that each user has not trained on, by 32 random bits each."""
        _, _, candidates, pairs = self._tables
        owners, items = pairs // self.n_items, pairs % self.n_items
        first = torch.searchsorted(owners, torch.stack([users, users + 1]))
        n = len(candidates)
        rank = (words * (n - first[1] + first[0])) >> 32
        # A user's other candidates before each of the user's positives, ascending.
        places = torch.arange(len(pairs), device=pairs.device)
        before = torch.searchsorted(candidates, items) - places + torch.searchsorted(owners, owners)
        passed = torch.searchsorted(owners * n + before, users * n + rank, right=True) - first[0]
        return candidates[rank + passed]


def _contains(ascending: Tensor, values: Tensor) -> Tensor:
    at = torch.searchsorted(ascending, values).clamp(max=len(ascending) - 1)
    return ascending[at] == values
