"""Test scores by kind of item and by how much is known about a user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sgurinit.errors import InputError
from sgurinit.evaluation.ranking import FullRanking

if TYPE_CHECKING:
    from sgurinit.data.dataset import Dataset

COLD, TAIL, HEAD = "cold items", "tail items", "head items"
AMONG_COLD = "cold among cold"
HEAD_SHARE = 0.2


def item_groups(dataset: Dataset) -> dict[str, np.ndarray]:
    """Split the items by popularity in training.

    Returns
    -------
    dict
        Name to ``(n_items,)`` bool. ``"cold items"`` have no training interaction, ``"head items"``
        are the most popular fifth of all others (the lower position among equals), ``"tail items"``
        the rest.
    """
    popularity = dataset.popularity()
    warm = popularity > 0
    order = np.argsort(-popularity, kind="stable")
    head = np.zeros(dataset.n_items, dtype=bool)
    head[order[: round(HEAD_SHARE * np.count_nonzero(warm))]] = True
    return {COLD: ~warm, TAIL: warm & ~head, HEAD: head}


def group_rankings(dataset: Dataset, *, mask_valid: bool) -> Iterator[tuple[str, FullRanking]]:
    """Yield a test ranking per group of items that has a test interaction.

    In each, the items of the group alone count as positives and all items are ranked; under
    ``"cold among cold"`` cold items alone are ranked.
    """
    wanted = np.bincount(dataset.test.items, minlength=dataset.n_items) > 0
    for name, items in item_groups(dataset).items():
        if (items & wanted).any():
            yield name, FullRanking(dataset, "test", mask_valid=mask_valid, positives=items)
            if name == COLD:
                yield (
                    AMONG_COLD,
                    FullRanking(
                        dataset, "test", mask_valid=mask_valid, positives=items, candidates=items
                    ),
                )


def user_groups(n_train: np.ndarray) -> dict[str, np.ndarray]:
    """Split users into about three thirds by their number of training interactions.

    Parameters
    ----------
    n_train
        ``(n_users,)`` training interactions of each user.

    Returns
    -------
    dict
        Name, such as ``"users with 1-3"``, to ``(n_users,)`` bool; users of the same number are
        together, so there can be fewer than three.

    Raises
    ------
    InputError
        There are no users.
    """
    if len(n_train) == 0:
        raise InputError("there are no users to split into groups")
    bounds = np.unique(np.quantile(n_train, [1 / 3, 2 / 3, 1], method="inverted_cdf"))
    groups = {}
    low = int(n_train.min())
    for bound in map(int, bounds):
        members = (n_train >= low) & (n_train <= bound)
        name = f"{low}" if low == bound else f"{low}-{bound}"
        groups[f"users with {name}"] = members
        low = bound + 1
    return groups
