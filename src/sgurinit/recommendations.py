"""Lists of recommended items, from a trained model or from a start alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from sgurinit._top_k import top_positions
from sgurinit.core import FittedStart, UserStart
from sgurinit.data import Dataset, load_dataset
from sgurinit.errors import InputError

if TYPE_CHECKING:
    from sgurinit.models import Recommender
    from sgurinit.training import Trained

_Ids: TypeAlias = NDArray[Any]
_Positions: TypeAlias = NDArray[np.int64]

# Scores held at once: 256 MiB of float32.
_BLOCK_SCORES = 1 << 26
_MAX_BLOCK_USERS = 1024


def recommend(
    source: Trained | Recommender | UserStart,
    users: Any = None,
    k: int = 20,
    *,
    data: Dataset | str | Path | None = None,
    exclude_known: bool = True,
) -> pl.DataFrame:
    """Recommend the items with the highest scores to each user.

    A score is the dot product of a user's and an item's vector: those of the model, or, for a
    start, those of its joint space. Items with equal scores are listed in the order of their
    positions. Users are scored in blocks, so the table of all users by all items is never held as a
    whole.

    Parameters
    ----------
    source : Trained, Recommender or UserStart
        What `sgurinit.train` returned, a model, or a start that was computed with ``joint_dim``.
        A start needs no torch.
    users : array_like of int or str, shape (n,), optional
        External ids of the users to recommend to, in any order; positions where there are no ids.
        All users by default.
    k : int, >= 1, default 20
        Number of items per user.
    data : Dataset, path or str, optional
        The data set, its path or its name. A `Recommender` needs the one that it was built for,
        which has the ids. A start that was loaded from a file needs it for the known items; for a
        fitted start it replaces the interactions of the fit. A `Trained` has its own.
    exclude_known : bool, default True
        Leave out the items of a user's training interactions. Validation and test items stay
        candidates.

    Returns
    -------
    polars.DataFrame
        Columns ``user`` and ``item`` (ids, with their types kept), ``rank`` (from 1) and ``score``,
        ordered by the given users, then by rank. A user with fewer than `k` candidates has fewer
        rows. A start never recommends an item that has no features in any modality and no
        collaborative columns.

    Raises
    ------
    InputError
        An id is unknown or of the wrong type, `k` is below 1, the start has no joint space, or
        `data` is missing, does not fit, or has no effect.

    See Also
    --------
    train : Trains a model and returns a `Trained`.
    sgurinit.integrations.vectors.VectorStore : An index that also serves users without a history.

    Examples
    --------
    >>> from sgurinit import SGURInit, recommend
    >>> from sgurinit.data import load_dataset
    >>> data = load_dataset("xwines")
    >>> start = SGURInit.from_preset("hybrid", joint_dim=16, random_state=0).fit(data).start_
    >>> table = recommend(start, data.user_ids[:2], k=3)
    >>> table.columns
    ['user', 'rank', 'item', 'score']
    >>> table["rank"].to_list()
    [1, 2, 3, 1, 2, 3]
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}, expected an integer of at least 1")
    ranking = _resolve(source, data, exclude_known=exclude_known)
    wanted = _user_positions(users, ranking)
    parts = [
        _block_rows(ranking, block, int(k)) for block in _blocks(wanted, len(ranking.item_ids))
    ]
    if not parts:
        parts = [_rows(ranking, wanted, np.empty((0, 0), np.int64), np.empty((0, 0), np.float32))]
    return pl.concat(parts)


@dataclass(frozen=True)
class _Ranking:
    """What to rank: ids, scores by blocks of users, and the pairs that are left out."""

    user_ids: _Ids
    item_ids: _Ids
    score: Callable[[_Positions], NDArray[Any]]
    known: sparse.csr_array[Any] | None
    unavailable: _Positions


def _resolve(source: Any, data: Dataset | str | Path | None, *, exclude_known: bool) -> _Ranking:
    loaded = data if data is None or isinstance(data, Dataset) else load_dataset(data)
    if isinstance(source, UserStart):
        return _start_ranking(source, loaded, exclude_known=exclude_known)
    if "torch" in sys.modules:  # without it there can be no model
        from sgurinit.models import Recommender  # noqa: PLC0415 - needs torch

        if isinstance(source, Recommender):
            if loaded is None:
                raise InputError("data is missing: a model needs the data set it was built for")
            return _model_ranking(source, loaded, exclude_known=exclude_known)

        from sgurinit.training import Trained  # noqa: PLC0415 - needs torch

        if isinstance(source, Trained):
            if loaded is not None:
                raise InputError("data has no effect: a Trained has its own data set; leave it out")
            return _model_ranking(source.model, source.dataset, exclude_known=exclude_known)
    raise InputError(
        f"source is of type {type(source).__name__}, expected a Trained, a Recommender or a "
        "UserStart"
    )


def _model_ranking(model: Recommender, data: Dataset, *, exclude_known: bool) -> _Ranking:
    import torch  # noqa: PLC0415 - a start does without it

    if (model.n_users, model.n_items) != (data.n_users, data.n_items):
        raise InputError(
            f"data has {data.n_users} users and {data.n_items} items, the model was built for "
            f"{model.n_users} and {model.n_items}: give the data set it was built for"
        )
    scorer = model.make_scorer()

    def score(users: _Positions) -> NDArray[Any]:
        scores = scorer(torch.from_numpy(users)).detach()
        if scores.dtype not in {torch.float32, torch.float64}:
            scores = scores.float()
        return np.array(scores.cpu().numpy())

    return _Ranking(
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        score=score,
        known=data.train_matrix() if exclude_known else None,
        unavailable=np.empty(0, np.int64),
    )


def _start_ranking(start: UserStart, data: Dataset | None, *, exclude_known: bool) -> _Ranking:
    dim = start.config["joint_dim"]
    if dim is None:
        raise InputError(
            "the start has no joint space, in which users and items have scores: set joint_dim, as "
            "in SGURInit(joint_dim=64), and fit again"
        )
    if data is not None and not exclude_known:
        raise InputError("data has no effect with exclude_known=False: leave it out")
    user_ids = np.arange(start.n_users) if start.user_ids is None else start.user_ids
    item_ids = np.arange(start.n_items) if start.item_ids is None else start.item_ids
    known: sparse.csr_array[Any] | None = None
    if exclude_known and data is not None:
        known = _known_items(start, data, user_ids, item_ids)
    elif exclude_known and isinstance(start, FittedStart):
        known = sparse.csr_array(start.fit.interactions.matrix)
    elif exclude_known:
        raise InputError(
            "a loaded start has no interactions: give the data set as data, or set "
            "exclude_known=False"
        )
    joint = start.joint(dim)
    return _Ranking(
        user_ids=user_ids,
        item_ids=item_ids,
        score=lambda users: joint.users[users] @ joint.items.T,
        known=known,
        unavailable=np.flatnonzero(joint.clusters.labels < 0),
    )


def _known_items(
    start: UserStart, data: Dataset, user_ids: _Ids, item_ids: _Ids
) -> sparse.csr_array[Any]:
    """Training interactions of `data` at the positions of the start's users and items."""
    pairs = []
    sides = (
        ("user", data.user_ids, data.train.users, user_ids, start.user_ids),
        ("item", data.item_ids, data.train.items, item_ids, start.item_ids),
    )
    for side, ids, positions, own, external in sides:
        if external is None and len(ids) != len(own):
            raise InputError(
                f"data has {len(ids)} {side}s, the start {len(own)}: give the data set it was "
                "computed on"
            )
        if external is None:
            pairs.append(positions)
            continue
        used = np.unique(positions)
        at = np.full(len(ids), -1, dtype=np.int64)
        at[used] = _positions(ids[used], own, f"data, {side}s")
        pairs.append(at[positions])
    ones = np.ones(len(pairs[0]), dtype=np.int8)
    return sparse.csr_array((ones, (pairs[0], pairs[1])), shape=(len(user_ids), len(item_ids)))


def _user_positions(users: Any, ranking: _Ranking) -> _Positions:
    if users is None:
        return np.arange(len(ranking.user_ids))
    return _positions(_as_ids(users), ranking.user_ids, "users")


def _as_ids(values: Any) -> _Ids:
    ids = np.asarray(values)
    if ids.dtype.kind in "OT":  # text columns of polars and pandas
        ids = np.array(ids.tolist()) if ids.size else ids
    if ids.ndim != 1:
        raise InputError(f"users has shape {ids.shape}, expected a one-dimensional list of ids")
    if ids.size and ids.dtype.kind not in "iuU":
        raise InputError(f"users holds {ids.dtype}, expected ids: integers or strings")
    return ids


def _positions(ids: _Ids, known: _Ids, name: str) -> _Positions:
    """Position of each id among the known ones."""
    if not len(ids):
        return np.empty(0, np.int64)
    if (ids.dtype.kind == "U") != (known.dtype.kind == "U"):
        raise InputError(
            f"{name}: id {ids[0].item()!r} is of another type than the known ids, such as "
            f"{known[0].item()!r}"
        )
    order = np.argsort(known, kind="stable")
    found = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    positions: _Positions = order[found].astype(np.int64)
    unknown = np.unique(ids[known[positions] != ids])
    if len(unknown):
        others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        verb = "are" if others else "is"
        raise InputError(
            f"{name}: id {unknown[0].item()!r}{others} {verb} unknown; the {len(known)} known ids "
            f"are {known[0].item()!r} to {known[-1].item()!r}"
        )
    return positions


def _blocks(users: _Positions, n_items: int) -> Iterator[_Positions]:
    size = max(1, min(_MAX_BLOCK_USERS, _BLOCK_SCORES // n_items))
    for start in range(0, len(users), size):
        yield users[start : start + size]


def _block_rows(ranking: _Ranking, users: _Positions, k: int) -> pl.DataFrame:
    scores = ranking.score(users)
    scores[:, ranking.unavailable] = -np.inf
    if ranking.known is not None:
        known = ranking.known[users]
        scores[np.repeat(np.arange(len(users)), np.diff(known.indptr)), known.indices] = -np.inf
    items = top_positions(scores, min(k, len(ranking.item_ids)))
    return _rows(ranking, users, items, np.take_along_axis(scores, np.maximum(items, 0), axis=1))


def _rows(
    ranking: _Ranking, users: _Positions, items: _Positions, scores: NDArray[Any]
) -> pl.DataFrame:
    row, rank = np.nonzero(items >= 0)
    return pl.DataFrame(
        {
            "user": ranking.user_ids[users[row]],
            "rank": (rank + 1).astype(np.uint32),
            "item": ranking.item_ids[items[row, rank]],
            "score": scores[row, rank],
        }
    )
