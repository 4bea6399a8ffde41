"""Lists of recommended items: users and scores in, a table out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit._top_k import top_positions
from sgurinit.arguments import check_integer
from sgurinit.core import SGURInit, UserStart
from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.core.inputs.conversion import to_array
from sgurinit.core.inputs.interactions import InteractionsLike
from sgurinit.errors import InputError
from sgurinit.recommendations.known_items import look_up_ids
from sgurinit.recommendations.sources import Ranking, rank_for_new_users, rank_for_users

if TYPE_CHECKING:
    from sgurinit.models import Recommender
    from sgurinit.training import Trained

# Scores held at once: 256 MiB of float32.
_BLOCK_SCORES = 1 << 26
_MAX_BLOCK_USERS = 1024


def recommend(
    source: Trained | Recommender | SGURInit | UserStart,
    users: Any = None,
    k: int = 20,
    *,
    data: InteractionsLike | str | Path | None = None,
    exclude_known: bool = True,
) -> pl.DataFrame:
    """Recommend the items with the highest scores to each user.

    A score is the dot product of a user's and an item's vector: those of the model, or, for a
    start, those of its joint space. A `VectorStore` ranks by the same product, unless it was made
    with ``metric="cosine"``. Items with equal scores are listed in the order of their positions.
    Users are scored in blocks, so the table of all users by all items is never held as a whole.

    Parameters
    ----------
    source : Trained, Recommender, SGURInit or UserStart
        What `sgurinit.train` returned, a model, or a fitted estimator or start with ``joint_dim``.
        An estimator and a start need no torch.
    users : array_like of int or str, shape (n,), or list of lists of items, optional
        External ids of the users to recommend to, in any order; positions where there are no ids.
        All users by default. With an estimator it may also be a plain list with one list of items
        for each new user, as `SGURInit.transform` takes it. An empty list of items is a user
        without clicks.
    k : int, >= 1, default 20
        Number of items per user.
    data : Dataset, path, str, DataFrame or other interactions, optional
        The known items. It may be a data set, its path or its name, or interactions as
        `SGURInit.fit` takes them, such as a pandas or polars DataFrame with columns ``user`` and
        ``item``. Users and items with ids are matched by id, others by position. A `Recommender`
        needs the data set that it was built for, which has the ids. A start that was loaded from a
        file needs the interactions; for a fitted one, they replace those of the fit. A `Trained`
        and new users have their own.
    exclude_known : bool, default True
        Leave out the items of a user's training interactions, or of a new user's list. Validation
        and test items stay candidates.

    Returns
    -------
    polars.DataFrame
        Columns ``user`` (id), ``rank`` (from 1), ``item`` (id) and ``score``, ordered by the given
        users, then by rank. Ids keep their types. The ``user`` of a new user is the position of
        their list. A user with fewer than `k` candidates has fewer rows. A start never recommends
        an item without a row in the joint space: one without features and, with ``collaborative``,
        without interactions.

    Raises
    ------
    InputError
        An id is unknown or of the wrong type, `k` is below 1, `exclude_known` is neither True nor
        False, the estimator is not fitted, there is no joint space, or `data` is missing, cannot be
        used, or has no effect. `data` also cannot be used if it lacks one of the users to recommend
        to, or has a user or an item that the start does not have; the message names them.

    See Also
    --------
    train : Trains a model and returns a `Trained`.
    sgurinit.integrations.vectors.VectorStore : An index that serves one user at a time.

    Examples
    --------
    >>> from sgurinit import SGURInit, recommend
    >>> from sgurinit.data import load_dataset
    >>> data = load_dataset("xwines")
    >>> estimator = SGURInit.from_preset("hybrid", joint_dim=16, random_state=0).fit(data)
    >>> table = recommend(estimator.start_, data.user_ids[:2], k=3)
    >>> table.columns
    ['user', 'rank', 'item', 'score']
    >>> table["rank"].to_list()
    [1, 2, 3, 1, 2, 3]

    New customers, of whom only clicks are known:

    >>> clicks = [data.item_ids[:2].tolist(), data.item_ids[5:6].tolist()]
    >>> recommend(estimator, clicks, k=2)["user"].to_list()
    [0, 0, 1, 1]
    """
    k = check_integer(k, "k", 1)
    if not isinstance(exclude_known, bool):
        raise InputError(f"exclude_known is {exclude_known!r:.200}, expected True or False")
    if _holds_lists(users):
        ranking = rank_for_new_users(source, users, data, exclude_known=exclude_known)
        wanted = np.arange(len(users))
    else:
        ranking = rank_for_users(source, data, exclude_known=exclude_known)
        wanted = _user_positions(users, ranking)
        _check_in_data(wanted, ranking)
    parts = [_block_rows(ranking, block, k) for block in _blocks(wanted, len(ranking.item_ids))]
    if not parts:
        parts = [_rows(ranking, wanted, np.empty((0, 0), np.int64), np.empty((0, 0), np.float32))]
    return pl.concat(parts)


def _check_in_data(users: IntArray, ranking: Ranking) -> None:
    """Refuse users that `data` lacks, as their known items would be recommended."""
    if ranking.not_in_data is None:
        return
    lacking = users[ranking.not_in_data[users]]
    if len(lacking):
        names = ", ".join(repr(one) for one in ranking.user_ids[lacking[:3]].tolist())
        others = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise InputError(
            f"data lacks {len(lacking)} of the users to recommend to ({names}{others}): add their "
            "interactions, or recommend to them with exclude_known=False and without data"
        )


def _holds_lists(users: Any) -> bool:
    """Whether users are new ones, in the form of a list with a list of items for each."""
    return isinstance(users, list | tuple) and any(
        isinstance(one, list | tuple | set | frozenset)
        or (isinstance(one, np.ndarray) and one.ndim > 0)
        for one in users
    )


def _user_positions(users: Any, ranking: Ranking) -> IntArray:
    if users is None:
        return np.arange(len(ranking.user_ids))
    return look_up_ids(_as_ids(users), ranking.user_ids, "users")


def _as_ids(values: Any) -> IdArray:
    if isinstance(values, str):
        raise InputError(f"users is {values!r}, expected a list of ids")
    try:
        ids = to_array(values, "users")
        if ids.dtype.kind in "OT":  # text columns of polars and pandas
            ids = np.array(ids.tolist()) if ids.size else ids
    except ValueError as error:  # also an InputError: rows of different lengths
        raise InputError(
            "users cannot be read as a one-dimensional list of ids; new users come as a plain list "
            "of lists of items"
        ) from error
    if ids.ndim != 1:
        raise InputError(
            f"users has shape {ids.shape}, expected a one-dimensional list of ids; new users come "
            "as a plain list of lists of items"
        )
    if ids.size and ids.dtype.kind not in "iuU":
        raise InputError(f"users holds {ids.dtype}, expected ids: integers or strings")
    return ids


def _blocks(users: IntArray, n_items: int) -> Iterator[IntArray]:
    size = max(1, min(_MAX_BLOCK_USERS, _BLOCK_SCORES // n_items))
    for start in range(0, len(users), size):
        yield users[start : start + size]


def _block_rows(ranking: Ranking, users: IntArray, k: int) -> pl.DataFrame:
    scores = ranking.score(users)
    scores[:, ranking.unavailable] = -np.inf
    if ranking.known is not None:
        known = ranking.known[users]
        scores[np.repeat(np.arange(len(users)), np.diff(known.indptr)), known.indices] = -np.inf
    items = top_positions(scores, min(k, len(ranking.item_ids)))
    return _rows(ranking, users, items, np.take_along_axis(scores, np.maximum(items, 0), axis=1))


def _rows(ranking: Ranking, users: IntArray, items: IntArray, scores: NDArray[Any]) -> pl.DataFrame:
    row, rank = np.nonzero(items >= 0)
    return pl.DataFrame(
        {
            "user": ranking.user_ids[users[row]],
            "rank": (rank + 1).astype(np.uint32),
            "item": ranking.item_ids[items[row, rank]],
            "score": scores[row, rank],
        }
    )
