"""Items held out of training altogether, to see what a model makes of new ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sgurinit.data.dataset import Dataset, Interactions
from sgurinit.errors import InputError
from sgurinit.seeds import generator


def hold_out_items(dataset: Dataset, share: float, *, seed: int = 0) -> Dataset:
    """Take a share of the items out of training.

    Half of them, chosen at random, become validation items and half test items: all their
    interactions go to that split, whichever they were in. All other interactions stay where they
    are, so that early stopping and testing see both kinds of items.

    Parameters
    ----------
    dataset : Dataset
        Any data set.
    share : float in (0, 1)
        Share of the items with a training interaction.
    seed : int
        Seed of the choice.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If the share is out of range, or leaves fewer than two items to hold out or nothing to
        train on.
    """
    if not 0 < share < 1:
        raise InputError(f"share of items to hold out is {share}, expected a number in (0, 1)")
    trained = np.flatnonzero(dataset.popularity())
    count = round(share * len(trained))
    if count < 2:
        raise InputError(
            f"{share:.0%} of {len(trained)} trained items are {count}, expected at least two to "
            "hold out, one for each split"
        )
    chosen = generator(seed, "cold items").choice(trained, count, replace=False)
    to_valid = np.zeros(dataset.n_items, dtype=bool)
    to_test = np.zeros(dataset.n_items, dtype=bool)
    to_valid[chosen[: count // 2]] = True
    to_test[chosen[count // 2 :]] = True
    users = np.concatenate([pairs.users for _, pairs in dataset.splits()])
    items = np.concatenate([pairs.items for _, pairs in dataset.splits()])
    splits = np.repeat([0, 1, 2], [len(pairs) for _, pairs in dataset.splits()])
    splits[to_valid[items]] = 1
    splits[to_test[items]] = 2
    train, valid, test = (
        Interactions(users[splits == split], items[splits == split]) for split in range(3)
    )
    name = f"{dataset.name}, {share:g} cold (seed {seed})"
    return replace(dataset, name=name, train=train, valid=valid, test=test)
