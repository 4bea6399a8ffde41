"""Adding interactions, users and items to a fit, computing only what they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from sgurinit.core.device import find_processor
from sgurinit.core.fit import Fit
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, IdArray, IntArray
from sgurinit.core.inputs.features import ItemFeatures, as_features
from sgurinit.core.inputs.ids import check_item_ids
from sgurinit.core.inputs.interactions import (
    InteractionsLike,
    ParsedInteractions,
    parse_interactions,
)
from sgurinit.core.steps.aggregate import count_item_degrees, count_user_degrees
from sgurinit.core.steps.space import FittedSpace, Space
from sgurinit.errors import InputError


def add_interactions(
    fit: Fit,
    users: Mapping[str, Float32Array],
    interactions: InteractionsLike,
    features: Mapping[str, Any] | None,
    item_ids: Any,
) -> tuple[Fit, dict[str, Float32Array]]:
    """Add interactions, users and items to a fit.

    New items change the clusters, and with them every user. Otherwise a user's row only changes
    when they have a new interaction or, under ``local_norm="sym"``, when one of their items has.
    Rows of users without interactions follow the popularity of the items.

    Parameters
    ----------
    fit : Fit
        The fit so far.
    users : mapping of str to ndarray of float32, shape (n_users, d_m)
        Its users' rows by modality.
    interactions, features, item_ids
        See `SGURInit.partial_fit`.

    Returns
    -------
    Fit, dict of str to ndarray
        The new fit, and its users' rows by modality.

    Raises
    ------
    InputError
        The interactions or features are not usable or do not match the fit.
    """
    tables, all_ids = _append_items(fit, features, item_ids)
    n_items = next(iter(tables.values())).n_items
    if (
        isinstance(interactions, list | tuple)
        and interactions
        and fit.interactions.user_ids is not None
    ):
        raise InputError(
            "a list of items per user has no user ids, which this fit knows; pass a DataFrame with "
            "columns user and item"
        )
    n_known = int(fit.interactions.matrix.shape[0])
    more = parse_interactions(interactions, n_items, all_ids, n_known_users=n_known)
    every = _join(fit.interactions, more, all_ids)
    new = replace(fit, interactions=every, features=tables, dataset=None, joints={})
    if features is not None:
        return _refit(new)
    spaces = {name: space.reweight(every.matrix) for name, space in fit.spaces.items()}
    new = replace(new, spaces=spaces)
    changed = _Changes(fit.interactions.matrix, every.matrix)
    rows = {name: changed.update_rows(new, space, users[name]) for name, space in spaces.items()}
    if not fit.parameters.collaborative:
        for width, joint in fit.joints.items():
            after = joint.space.reweight(every.matrix)
            users_after = changed.update_rows(new, after, joint.users)
            new.joints[width] = FittedSpace(joint.table, after, users_after)
    return new, rows


def _refit(fit: Fit) -> tuple[Fit, dict[str, Float32Array]]:
    new = replace(fit, spaces=fit.fit_spaces())
    return new, {name: new.compute_users(space) for name, space in new.spaces.items()}


class _Changes:
    """Users whose rows change when interactions are added."""

    def __init__(self, before: sp.csr_array, after: sp.csr_array) -> None:
        self.after = after
        grown = np.zeros(after.shape[0], dtype=np.float64)
        grown[: before.shape[0]] = count_user_degrees(before)
        self.own: BoolArray = count_user_degrees(after) > grown
        self.own[before.shape[0] :] = True
        self.items: BoolArray = count_item_degrees(after) > count_item_degrees(before)

    def update_rows(self, fit: Fit, space: Space, before: Float32Array) -> Float32Array:
        """Compute the rows that change; the others are copied from those before."""
        reached = self.own | (count_user_degrees(space.select_present(self.after)) == 0)
        if space.parameters.local_norm == "sym" and space.parameters.local_weight > 0:
            reached |= self.after.astype(np.int32) @ self.items.astype(np.int32) > 0
        rows = np.empty((self.after.shape[0], before.shape[1]), dtype=np.float32)
        rows[: len(before)] = before
        changed, processor = sp.csr_array(self.after[reached]), find_processor(fit.device)
        rows[reached] = space.compute_users(changed, fit.n_jobs, processor)
        return rows


def _append_items(
    fit: Fit, features: Mapping[str, Any] | None, item_ids: Any
) -> tuple[dict[str, ItemFeatures], IdArray | None]:
    """Append the features and ids of new items to those of the fit."""
    known = fit.interactions.item_ids
    if features is None:
        if item_ids is not None:
            raise InputError("item_ids are those of new items: pass their features too")
        return dict(fit.features), known
    added = as_features(features)
    for name in added:
        if name not in fit.features:
            raise InputError(
                f"the new items have features in {name!r}, the fit has {', '.join(fit.features)}"
            )
    n_new = next(iter(added.values())).n_items
    tables = {
        name: _append_rows(name, table, added.get(name), n_new)
        for name, table in fit.features.items()
    }
    if known is None:
        if item_ids is not None:
            raise InputError("the fit knows items by position, so new ones have no item_ids")
        return tables, None
    if item_ids is None:
        raise InputError("the fit knows items by id: pass item_ids of the new items")
    ids = check_item_ids(item_ids, n_new)
    if ids.dtype.kind != known.dtype.kind:
        raise InputError("item_ids of the new items are of another kind than those of the fit")
    return tables, check_item_ids(np.concatenate([known, ids]), len(known) + n_new)


def _append_rows(
    name: str, table: ItemFeatures, more: ItemFeatures | None, n_new: int
) -> ItemFeatures:
    """Append the rows of new items; None adds items without a row."""
    if more is not None and more.width != table.width:
        raise InputError(
            f"features[{name!r}] of the new items have {more.width} columns, the fit's have "
            f"{table.width}"
        )
    kind = table.values.dtype
    rows = np.zeros((n_new, table.width), kind) if more is None else more.values.astype(kind)
    present = np.zeros(n_new, dtype=bool) if more is None else more.mask()
    return ItemFeatures(
        np.concatenate([table.values, rows]), np.concatenate([table.mask(), present])
    )


def _join(
    known: ParsedInteractions, more: ParsedInteractions, item_ids: IdArray | None
) -> ParsedInteractions:
    """Join all interactions; new users come last."""
    rows, user_ids = _find_rows(known, more)
    n_users = max(known.matrix.shape[0], int(rows.max(initial=-1)) + 1)
    shape = (n_users, int(more.matrix.shape[1]))
    old = known.matrix
    pointers = np.pad(old.indptr, (0, n_users - int(old.shape[0])), mode="edge")
    before = sp.csr_array((old.data, old.indices, pointers), shape=shape)
    coo = more.matrix.tocoo()
    added = sp.csr_array((coo.data, (rows[coo.row], coo.col)), shape=shape)
    total = sp.csr_array(before + added)
    total.sort_indices()
    repeated = int(known.matrix.nnz) + int(more.matrix.nnz) - int(total.nnz)
    total.data = np.ones(total.nnz, dtype=np.int8)
    return ParsedInteractions(
        total, known.duplicates + more.duplicates + repeated, user_ids, item_ids
    )


def _find_rows(
    known: ParsedInteractions, more: ParsedInteractions
) -> tuple[IntArray, IdArray | None]:
    """Find the row of each user of `more` among all users, and the ids of all users."""
    n_known, n_more = int(known.matrix.shape[0]), int(more.matrix.shape[0])
    if (known.user_ids is None) != (more.user_ids is None):
        here, there = ("position", "id") if known.user_ids is None else ("id", "position")
        if here == "id" and n_more <= n_known:
            return np.arange(n_more), known.user_ids
        raise InputError(
            f"the fit knows users by {here}, the new interactions name them by {there}: use one"
        )
    if known.user_ids is None or more.user_ids is None:
        return np.arange(n_more), None
    if known.user_ids.dtype.kind != more.user_ids.dtype.kind:
        raise InputError("column 'user' holds ids of another kind than those of the fit")
    is_new = ~np.isin(more.user_ids, known.user_ids)
    ids = np.concatenate([known.user_ids, more.user_ids[is_new]])
    order = np.argsort(ids, kind="stable")
    found: IntArray = order[np.searchsorted(ids, more.user_ids, sorter=order)].astype(np.int64)
    return found, ids
