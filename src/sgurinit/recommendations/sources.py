"""What can be ranked: models, starts and new users, each as scores by blocks of users."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sgurinit.core import FittedStart, JointStart, SGURInit, UserStart
from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.core.inputs.interactions import parse_interactions
from sgurinit.data import Dataset, load_dataset
from sgurinit.errors import InputError
from sgurinit.recommendations.known_items import find_known_items, get_item_ids, get_user_ids

if TYPE_CHECKING:
    from sgurinit.models import Recommender


@dataclass(frozen=True)
class Ranking:
    """What to rank: ids, scores by blocks of users, and the pairs that are left out."""

    user_ids: IdArray
    item_ids: IdArray
    score: Callable[[IntArray], NDArray[Any]]
    known: sparse.csr_array[Any] | None
    unavailable: IntArray
    not_in_data: NDArray[np.bool_] | None = None


def rank_for_users(source: Any, data: Any, *, exclude_known: bool) -> Ranking:
    """Rank for the users that a source knows by id or position."""
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


def _model_ranking(model: Recommender, data: Dataset, *, exclude_known: bool) -> Ranking:
    import torch  # noqa: PLC0415 - a start does without it

    if (model.n_users, model.n_items) != (data.n_users, data.n_items):
        raise InputError(
            f"data has {data.n_users} users and {data.n_items} items, the model was built for "
            f"{model.n_users} and {model.n_items}: give the data set it was built for"
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise InputError(
            "source is a model on the meta device, which holds no values: load its weights on "
            "another device first"
        )
    scorer = model.make_scorer()

    def score(users: IntArray) -> NDArray[Any]:
        scores = scorer(torch.from_numpy(users)).detach()
        if scores.dtype not in {torch.float32, torch.float64}:
            scores = scores.float()
        return np.array(scores.cpu().numpy())

    return Ranking(
        user_ids=data.user_ids,
        item_ids=data.item_ids,
        score=score,
        known=data.train_matrix() if exclude_known else None,
        unavailable=np.empty(0, np.int64),
    )


def _start_ranking(start: UserStart, data: Any, *, exclude_known: bool) -> Ranking:
    joint = _joint_space(start)
    if data is not None and not exclude_known:
        raise InputError("data has no effect with exclude_known=False: leave it out")
    known: sparse.csr_array[Any] | None = None
    not_in_data: NDArray[np.bool_] | None = None
    if exclude_known and data is not None:
        known, not_in_data = find_known_items(start, data)
    elif exclude_known and isinstance(start, FittedStart):
        known = sparse.csr_array(start.fit.interactions.matrix)
    elif exclude_known:
        raise InputError(
            "a loaded start has no interactions: give the data set or the interactions as data, or "
            "set exclude_known=False"
        )
    return Ranking(
        user_ids=get_user_ids(start),
        item_ids=get_item_ids(start),
        score=lambda users: joint.users[users] @ joint.items.T,
        known=known,
        unavailable=np.flatnonzero(joint.clusters.labels < 0),
        not_in_data=not_in_data,
    )


def rank_for_new_users(source: Any, lists: Any, data: Any, *, exclude_known: bool) -> Ranking:
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
    return Ranking(
        user_ids=np.arange(len(rows)),
        item_ids=get_item_ids(start),
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
