"""Groups of items by popularity and of users by their number of interactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sgurinit.errors import InputError
from sgurinit.evaluation.ranking import FullRanking

if TYPE_CHECKING:
    from sgurinit.data import Dataset

COLD, TAIL, HEAD = "cold items", "tail items", "head items"
AMONG_COLD = "cold among cold"
HEAD_SHARE = 0.2  # of the items with a training interaction


def group_items(dataset: Dataset) -> dict[str, np.ndarray]:
    """Split the items by their popularity in training.

    Parameters
    ----------
    dataset : Dataset
        Data set whose training interactions are counted.

    Returns
    -------
    dict of str to numpy.ndarray of bool, shape (n_items,)
        ``"cold items"`` have no training interaction. ``"head items"`` are the most popular fifth
        of the others; among equally popular items, those with lower positions. ``"tail items"`` are
        the rest.

    See Also
    --------
    make_group_rankings : Evaluates each group by itself.
    group_users : Splits the users.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> groups = group_items(planted(200, 100))
    >>> {name: int(members.sum()) for name, members in groups.items()}
    {'cold items': 15, 'tail items': 68, 'head items': 17}
    """
    popularity = dataset.popularity()
    warm = popularity > 0
    order = np.argsort(-popularity, kind="stable")
    head = np.zeros(dataset.n_items, dtype=bool)
    head[order[: round(HEAD_SHARE * np.count_nonzero(warm))]] = True
    return {COLD: ~warm, TAIL: warm & ~head, HEAD: head}


def make_group_rankings(dataset: Dataset, *, mask_valid: bool) -> Iterator[tuple[str, FullRanking]]:
    """Make a test ranking for each group of items that has a test interaction.

    In each of them, only the group's items count as positives, and all items are ranked. A further
    ranking, ``"cold among cold"``, only ranks the cold items.

    Parameters
    ----------
    dataset : Dataset
        Interactions with their splits.
    mask_valid : bool
        Also leave validation items out of the ranking, see `FullRanking`.

    Yields
    ------
    tuple of str and FullRanking
        Name of the group and its ranking.

    See Also
    --------
    group_items : The groups.
    FullRanking : The ranking of all items.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> [name for name, _ in make_group_rankings(planted(200, 100), mask_valid=False)]
    ['cold items', 'cold among cold', 'tail items', 'head items']
    """
    tested = np.bincount(dataset.test.items, minlength=dataset.n_items) > 0
    for name, items in group_items(dataset).items():
        if (items & tested).any():
            yield name, FullRanking(dataset, "test", mask_valid=mask_valid, positives=items)
            if name == COLD:
                yield (
                    AMONG_COLD,
                    FullRanking(
                        dataset, "test", mask_valid=mask_valid, positives=items, candidates=items
                    ),
                )


def group_users(n_train: np.ndarray) -> dict[str, np.ndarray]:
    """Split users into about three thirds by their number of training interactions.

    Parameters
    ----------
    n_train : numpy.ndarray of int, shape (n_users,)
        Training interactions of each user.

    Returns
    -------
    dict of str to numpy.ndarray of bool, shape (n_users,)
        Groups under names like ``"users with 1-3"``. Users with equal numbers are in the same
        group, so there can be fewer than three.

    Raises
    ------
    InputError
        There are no users.

    See Also
    --------
    group_items : Splits the items.

    Examples
    --------
    >>> import numpy as np
    >>> list(group_users(np.array([1, 2, 3, 4, 5, 6])))
    ['users with 1-2', 'users with 3-4', 'users with 5-6']
    """
    if len(n_train) == 0:
        raise InputError("n_train is empty, expected at least one user")
    bounds = np.unique(np.quantile(n_train, [1 / 3, 2 / 3, 1], method="inverted_cdf"))
    groups = {}
    low = int(n_train.min())
    for bound in map(int, bounds):
        members = (n_train >= low) & (n_train <= bound)
        name = f"{low}" if low == bound else f"{low}-{bound}"
        groups[f"users with {name}"] = members
        low = bound + 1
    return groups
