"""Known items of the users of a start, matched by id."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sgurinit.core import UserStart
from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.core.inputs.ids import find_positions
from sgurinit.core.inputs.interactions import parse_interactions
from sgurinit.core.inputs.training_data import TrainingData, is_training_data
from sgurinit.errors import InputError

# Users and items of each interaction, and which users of the start the data lack, if they have ids.
_Matched = tuple[IntArray, IntArray, NDArray[np.bool_] | None]


def find_known_items(
    start: UserStart, data: Any
) -> tuple[sparse.csr_array[Any], NDArray[np.bool_] | None]:
    """Return the interactions of `data` at the start's positions, and which users `data` lacks.

    Raises
    ------
    InputError
        The data cannot be read, or have users or items that the start does not know.
    """
    is_dataset = is_training_data(data)
    users, items, lacking = (_match_dataset if is_dataset else _match_interactions)(start, data)
    pairs = (np.ones(len(users), dtype=np.int8), (users, items))
    return sparse.csr_array(pairs, shape=(start.n_users, start.n_items)), lacking


def get_user_ids(start: UserStart) -> IdArray:
    """Return the ids of a start's users, or their positions."""
    return np.arange(start.n_users) if start.user_ids is None else start.user_ids


def get_item_ids(start: UserStart) -> IdArray:
    """Return the ids of a start's items, or their positions."""
    return np.arange(start.n_items) if start.item_ids is None else start.item_ids


def look_up_ids(ids: IdArray, known: IdArray, name: str) -> IntArray:
    """Return the position of each id among the known ones.

    Raises
    ------
    InputError
        An id is unknown or of another type than the known ones.
    """
    if not len(ids):
        return np.empty(0, np.int64)
    if (ids.dtype.kind == "U") != (known.dtype.kind == "U"):
        raise InputError(
            f"{name}: id {ids[0].item()!r} is of another type than the known ids, such as "
            f"{known[0].item()!r}"
        )
    positions, unknown = find_positions(ids, known, np.argsort(known, kind="stable"))
    if unknown is not None:
        raise InputError(
            f"{name}: id {ids[unknown].item()!r} is unknown; the {len(known)} known ids are "
            f"{known[0].item()!r} to {known[-1].item()!r}"
        )
    return positions


def _match_dataset(start: UserStart, data: TrainingData) -> _Matched:
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


def _match_ids(ids: IdArray, positions: IntArray, own: IdArray, side: str) -> IntArray:
    used = np.unique(positions)
    at = np.full(len(ids), -1, dtype=np.int64)
    at[used] = look_up_ids(ids[used], own, f"data, {side}s")
    matched: IntArray = at[positions]
    return matched


def _match_interactions(start: UserStart, data: Any) -> _Matched:
    try:
        parsed = parse_interactions(data, start.n_items, get_item_ids(start))
    except InputError as error:
        raise InputError(f"data: {error}") from None
    users, items = _pairs(parsed.matrix)
    if parsed.user_ids is not None:
        at = look_up_ids(parsed.user_ids, get_user_ids(start), "data, column 'user'")
        lacking = np.ones(start.n_users, dtype=np.bool_)
        lacking[at] = False
        return at[users], items, lacking
    n_users = int(parsed.matrix.shape[0])
    is_edge_list = isinstance(data, np.ndarray)  # the last users may have no edge
    if n_users > start.n_users or (n_users < start.n_users and not is_edge_list):
        raise InputError(
            f"data has {n_users} users, the start {start.n_users}: give the interactions that it "
            "was computed on, or a DataFrame, which is matched by id"
        )
    return users, items, None


def _pairs(matrix: Any) -> tuple[IntArray, IntArray]:
    users, items = matrix.nonzero()
    return users.astype(np.int64), items.astype(np.int64)
