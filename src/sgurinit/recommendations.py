"""Lists of recommended items, from a trained model or from a start alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from sgurinit._top_k import top_positions
from sgurinit.core import FittedStart, SGURInit, UserStart
from sgurinit.core.inputs.ids import as_ids
from sgurinit.core.inputs.interactions import (
    DataFrameLike,
    InteractionsLike,
    parse_interactions,
)
from sgurinit.core.inputs.training_data import TrainingData
from sgurinit.data import Dataset, load_dataset
from sgurinit.errors import InputError

if TYPE_CHECKING:
    from sgurinit.core import JointStart
    from sgurinit.models import Recommender
    from sgurinit.training import Trained

_Ids: TypeAlias = NDArray[Any]
_Positions: TypeAlias = NDArray[np.int64]

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
        an item that has no features in any modality and no collaborative columns.

    Raises
    ------
    InputError
        An id is unknown or of the wrong type, `k` is below 1, the estimator is not fitted, there is
        no joint space, or `data` is missing, cannot be used, or has no effect. `data` also cannot
        be used if it lacks one of the users to recommend to, or has a user or an item that the
        start does not have; the message names them.

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
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}, expected an integer of at least 1")
    if _holds_lists(users):
        ranking = _new_user_ranking(source, users, data, exclude_known=exclude_known)
        wanted = np.arange(len(users))
    else:
        ranking = _resolve(source, data, exclude_known=exclude_known)
        wanted = _user_positions(users, ranking)
        _check_in_data(wanted, ranking)
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
    not_in_data: NDArray[np.bool_] | None = None


def _resolve(source: Any, data: Any, *, exclude_known: bool) -> _Ranking:
    loaded = load_dataset(data) if isinstance(data, str | Path) else data
    if isinstance(source, SGURInit):
        return _start_ranking(_fitted_start(source), loaded, exclude_known=exclude_known)
    if isinstance(source, UserStart):
        return _start_ranking(source, loaded, exclude_known=exclude_known)
    if "torch" in sys.modules:  # without it there can be no model
        from sgurinit.models import Recommender  # noqa: PLC0415 - needs torch

        if isinstance(source, Recommender):
            if loaded is None:
                raise InputError("data is missing: a model needs the data set it was built for")
            if not isinstance(loaded, Dataset):
                raise InputError(
                    f"data is of type {type(loaded).__name__}, expected the Dataset that the model "
                    "was built for, its path or its name"
                )
            return _model_ranking(source, loaded, exclude_known=exclude_known)

        from sgurinit.training import Trained  # noqa: PLC0415 - needs torch

        if isinstance(source, Trained):
            if loaded is not None:
                raise InputError("data has no effect: a Trained has its own data set; leave it out")
            return _model_ranking(source.model, source.dataset, exclude_known=exclude_known)
    raise InputError(
        f"source is of type {type(source).__name__}, expected a Trained, a Recommender, a "
        "fitted SGURInit or a UserStart"
    )


def _fitted_start(estimator: SGURInit) -> FittedStart:
    start: FittedStart | None = getattr(estimator, "start_", None)
    if start is None:
        raise InputError("source is an SGURInit that is not fitted: call its fit first")
    return start


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


def _start_ranking(start: UserStart, data: Any, *, exclude_known: bool) -> _Ranking:
    joint = _joint_space(start)
    if data is not None and not exclude_known:
        raise InputError("data has no effect with exclude_known=False: leave it out")
    known: sparse.csr_array[Any] | None = None
    not_in_data: NDArray[np.bool_] | None = None
    if exclude_known and data is not None:
        known, not_in_data = _known_items(start, data)
    elif exclude_known and isinstance(start, FittedStart):
        known = sparse.csr_array(start.fit.interactions.matrix)
    elif exclude_known:
        raise InputError(
            "a loaded start has no interactions: give the data set or the interactions as data, or "
            "set exclude_known=False"
        )
    return _Ranking(
        user_ids=_user_ids(start),
        item_ids=_item_ids(start),
        score=lambda users: joint.users[users] @ joint.items.T,
        known=known,
        unavailable=np.flatnonzero(joint.clusters.labels < 0),
        not_in_data=not_in_data,
    )


def _new_user_ranking(source: Any, lists: Any, data: Any, *, exclude_known: bool) -> _Ranking:
    """Rank for users who were not in the fit, each of them known by a list of items."""
    if not isinstance(source, SGURInit):
        raise InputError(
            f"users holds lists of items, which a {type(source).__name__} cannot place: for new "
            "users give the fitted SGURInit as source, for others their ids as users"
        )
    start = _fitted_start(source)
    joint = _joint_space(start)
    if data is not None:
        raise InputError("data has no effect for new users: their known items are those in users")
    try:
        clicks = parse_interactions(list(lists), start.n_items, start.item_ids).matrix
    except InputError as error:
        raise InputError(f"users: {error}") from None
    rows = source.transform(clicks)["joint"]
    return _Ranking(
        user_ids=np.arange(len(rows)),
        item_ids=_item_ids(start),
        score=lambda users: rows[users] @ joint.items.T,
        known=clicks if exclude_known else None,
        unavailable=np.flatnonzero(joint.clusters.labels < 0),
    )


def _joint_space(start: UserStart) -> JointStart:
    dim = start.config["joint_dim"]
    if dim is None:
        raise InputError(
            "the start has no joint space, in which users and items have scores: set joint_dim, as "
            "in SGURInit(joint_dim=64), and fit again"
        )
    return start.joint(dim)


def _user_ids(start: UserStart) -> _Ids:
    return np.arange(start.n_users) if start.user_ids is None else start.user_ids


def _item_ids(start: UserStart) -> _Ids:
    return np.arange(start.n_items) if start.item_ids is None else start.item_ids


def _known_items(
    start: UserStart, data: Any
) -> tuple[sparse.csr_array[Any], NDArray[np.bool_] | None]:
    """Interactions of `data` at the start's positions, and which of its users `data` lacks."""
    if isinstance(data, pl.LazyFrame):
        raise InputError("data is a LazyFrame, expected a DataFrame: call its collect")
    if isinstance(data, Dataset | TrainingData):
        users, items, lacking = _match_dataset(start, data)
    elif isinstance(data, DataFrameLike) and not isinstance(data, Mapping):
        users, items, lacking = _match_frame(start, data)
    else:
        users, items, lacking = _match_positions(start, data)
    pairs = (np.ones(len(users), dtype=np.int8), (users, items))
    return sparse.csr_array(pairs, shape=(start.n_users, start.n_items)), lacking


_Matched: TypeAlias = tuple[_Positions, _Positions, NDArray[np.bool_] | None]


def _match_dataset(start: UserStart, data: Dataset | TrainingData) -> _Matched:
    users, items = _pairs(data.train_matrix())
    for side, ids, count, external in (
        ("user", data.user_ids, start.n_users, start.user_ids),
        ("item", data.item_ids, start.n_items, start.item_ids),
    ):
        if external is None and len(ids) != count:
            raise InputError(
                f"data has {len(ids)} {side}s, the start {count}: give the data set it was "
                "computed on"
            )
    lacking = None
    if start.user_ids is not None:
        users = _match_ids(data.user_ids, users, start.user_ids, "user")
        lacking = ~np.isin(start.user_ids, data.user_ids)
    if start.item_ids is not None:
        items = _match_ids(data.item_ids, items, start.item_ids, "item")
    return users, items, lacking


def _match_ids(ids: _Ids, positions: _Positions, own: _Ids, side: str) -> _Positions:
    used = np.unique(positions)
    at = np.full(len(ids), -1, dtype=np.int64)
    at[used] = _positions(ids[used], own, f"data, {side}s")
    matched: _Positions = at[positions]
    return matched


def _match_frame(start: UserStart, frame: Any) -> _Matched:
    missing = [repr(name) for name in ("user", "item") if name not in frame.columns]
    if missing:
        raise InputError(
            f"data has no column {' and no column '.join(missing)}: a DataFrame needs the columns "
            "'user' and 'item'"
        )
    ids = as_ids(frame["user"], "data, column 'user'")
    users = _positions(ids, _user_ids(start), "data, column 'user'")
    items = as_ids(frame["item"], "data, column 'item'")
    items = _positions(items, _item_ids(start), "data, column 'item'")
    lacking = np.ones(start.n_users, dtype=np.bool_)
    lacking[users] = False
    return users, items, lacking


def _match_positions(start: UserStart, data: Any) -> _Matched:
    is_edge_list = isinstance(data, np.ndarray)  # the last users may have no edge
    if not (sparse.issparse(data) or is_edge_list or isinstance(data, list | tuple)):
        raise InputError(
            f"data is of type {type(data).__name__}, expected a Dataset, its path or its name, or "
            "interactions that SGURInit.fit takes, such as a DataFrame with columns 'user' and "
            "'item'"
        )
    try:
        matrix = parse_interactions(data, start.n_items, start.item_ids).matrix
    except InputError as error:
        raise InputError(f"data: {error}") from None
    n_users = int(matrix.shape[0])
    if n_users > start.n_users or (n_users < start.n_users and not is_edge_list):
        raise InputError(
            f"data has {n_users} users, the start {start.n_users}: give the interactions that it "
            "was computed on, or a DataFrame, which is matched by id"
        )
    users, items = _pairs(matrix)
    return users, items, None


def _pairs(matrix: Any) -> tuple[_Positions, _Positions]:
    users, items = matrix.nonzero()
    return users.astype(np.int64), items.astype(np.int64)


def _check_in_data(users: _Positions, ranking: _Ranking) -> None:
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


def _user_positions(users: Any, ranking: _Ranking) -> _Positions:
    if users is None:
        return np.arange(len(ranking.user_ids))
    return _positions(_as_ids(users), ranking.user_ids, "users")


def _as_ids(values: Any) -> _Ids:
    if isinstance(values, str):
        raise InputError(f"users is {values!r}, expected a list of ids")
    try:
        ids = np.asarray(values)
        if ids.dtype.kind in "OT":  # text columns of polars and pandas
            ids = np.array(ids.tolist()) if ids.size else ids
    except ValueError as error:  # rows of different lengths
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
