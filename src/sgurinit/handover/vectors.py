"""A start's users in the space of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from sgurinit.core import UserStart
from sgurinit.core.inputs.arrays import BoolArray, FloatArray
from sgurinit.core.inputs.features import row_norms
from sgurinit.errors import InputError
from sgurinit.handover.checks import label
from sgurinit.models.base import UserTable


def users_in_space(
    table: UserTable, start: UserStart, width: int | None
) -> tuple[FloatArray, float]:
    """Compute the users in a table's space, and the mean row norm of the items there.

    Parameters
    ----------
    table : UserTable
        Declares the space.
    start : UserStart
        A start for the users of the table.
    width : int or None
        See `users_among`.

    Returns
    -------
    users : ndarray of shape (n_users, d)
    norm_items : float

    Raises
    ------
    InputError
        The start lacks the modality or what the space needs.
    """
    if table.space == "free":
        joint = start.joint(table.parameter.shape[1])
        return joint.users, float(row_norms(joint.items).mean())
    present = items_with_features(table, start)
    modality = cast(str, table.modality)
    as_computed = table.space == "raw" and not is_collaborative(start)
    if as_computed and table.features is None:
        return start.users[modality], start.diagnostics.modalities[modality].item_mean_norm
    items = item_rows(table, start, projected=True)
    if items.ndim != 2 or len(items) != start.n_items:
        raise InputError(
            f"the items' vectors of {label(table.name)} have shape {items.shape}, expected a row "
            f"for each of the {start.n_items} items"
        )
    norm_items = float(row_norms(items[present]).mean())
    if as_computed:
        return start.users[modality], norm_items
    return users_among(items, present, start, width), norm_items


def users_among(
    items: FloatArray, present: BoolArray, start: UserStart, width: int | None
) -> FloatArray:
    """Compute the users in the space of given item rows.

    A collaborative start is carried from the joint space, where alone it is collaborative. Any
    other start is computed on the given rows.

    Parameters
    ----------
    items : ndarray of shape (n_items, d)
        Item rows in the space.
    present : ndarray of bool, shape (n_items,)
        Which items have a row.
    start : UserStart
        The start.
    width : int or None
        Width of the joint space that a collaborative start is carried from, where it has no
        ``joint_dim``; d where None.

    Returns
    -------
    ndarray of shape (n_users, d)
    """
    if is_collaborative(start):
        return start.carry_to(np.where(present[:, None], items, 0), width=width)
    return start.on(items, present=present)


def is_collaborative(start: UserStart) -> bool:
    """Whether the start's joint space also describes items by who uses them."""
    return bool(start.config["collaborative"])


def items_with_features(table: UserTable, start: UserStart) -> BoolArray:
    """Return which items have a row in the table's modality, ``(n_items,)``."""
    if table.modality is None:
        raise InputError(
            f"{label(table.name)} is in a {table.space} space, expected the modality of its "
            f"features; pass modality=, one of {', '.join(start.users)}"
        )
    if not isinstance(table.modality, str) or table.modality not in start.users:
        raise InputError(
            f"{label(table.name)} is in the space of modality {table.modality!r}, which the start "
            f"does not have; it has {', '.join(start.users)}"
        )
    return start.clusters[table.modality].labels >= 0


def item_rows(table: UserTable, start: UserStart, *, projected: bool) -> FloatArray:
    """Return the items in the table's space, or their features before its projection."""
    if table.features is None:
        if table.space == "projected":
            raise InputError(
                f"{label(table.name)} is in a projected space, expected the items' vectors in it; "
                "pass item_vectors"
            )
        return start.features(cast(str, table.modality))
    with torch.no_grad():
        rows = table.item_vectors() if projected else table.features
    return cast(Tensor, rows).detach().float().cpu().numpy()


def check_preprocess(
    tables: Sequence[UserTable], steps: Sequence[str], collaborative: bool
) -> None:
    """Refuse preprocessing steps that would change no table.

    Parameters
    ----------
    tables : sequence of UserTable
        The tables to fill.
    steps : sequence of str
        `preprocess` of the start.
    collaborative : bool
        `collaborative` of the start.

    Raises
    ------
    InputError
        There are steps, but no table in a raw space, or a collaborative joint space.

    See Also
    --------
    hand_over : Does this check too.

    Examples
    --------
    >>> from torch import nn
    >>> from sgurinit.models import UserTable
    >>> table = UserTable("users", nn.Embedding(200, 8).weight, "raw", modality="text")
    >>> check_preprocess([table], ("center",), collaborative=False)
    """
    has_effect = not collaborative and any(table.space == "raw" for table in tables)
    if steps and not has_effect:
        raise InputError(
            f"preprocess={tuple(steps)!r} has no effect here: it only changes tables in a raw "
            "space, and only without `collaborative`. A free space has the joint space's own "
            "steps, a projected one the model's; fit with preprocess=()"
        )
