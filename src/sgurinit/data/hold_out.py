"""Hold out items from training, to measure how a model ranks new items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sgurinit.data.dataset import Dataset, Interactions
from sgurinit.errors import InputError
from sgurinit.seeds import make_generator


def hold_out_items(dataset: Dataset, share: float, *, seed: int = 0) -> Dataset:
    """Remove a random share of the items from training.

    All interactions of half of these items move to validation, those of the other half to test. All
    other interactions stay in their split, so validation and test have both known and new items.

    Parameters
    ----------
    dataset : Dataset
        The data set.
    share : float in (0, 1)
        Share of the items with a training interaction to hold out.
    seed : int, default 0
        Seed of the random choice.

    Returns
    -------
    Dataset
        A data set with the same users, items and features, and other splits.

    Raises
    ------
    InputError
        If `share` is out of range, fewer than two items are held out, or no training interaction is
        left.

    See Also
    --------
    sgurinit.data.prepare.prepare : Its split ``"cold-items"`` holds items out of a raw log.

    Examples
    --------
    >>> from sgurinit.data import hold_out_items, planted
    >>> dataset = planted(200, 100)
    >>> cold = hold_out_items(dataset, 0.2)
    >>> int((dataset.popularity() > 0).sum()), int((cold.popularity() > 0).sum())
    (85, 68)
    """
    if not 0 < share < 1:
        raise InputError(f"share is {share}, expected a number in (0, 1)")
    trained = np.flatnonzero(dataset.popularity())
    count = round(share * len(trained))
    if count < 2:
        raise InputError(
            f"share is {share}, which is {count} of the {len(trained)} trained items; expected at "
            "least two items, one for validation and one for test"
        )
    chosen = make_generator(seed, "cold items").choice(trained, count, replace=False)
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
