"""Frameworks whose tables are NumPy arrays: filled by way of the hand-over's own function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sgurinit.core import UserStart
from sgurinit.core.features import Float32Array, FloatArray
from sgurinit.handover import Items, Scale, fill
from sgurinit.models.base import UserTable


def started(
    users: FloatArray, items: FloatArray, start: UserStart, *, scale: Scale, fill_items: Items
) -> tuple[Float32Array, Float32Array]:
    """Users' and items' tables of a free space as the start leaves them; the given ones stay."""
    pair = UserTable("users", parameter(users), "id", items=parameter(items))
    fill(pair, start, scale=scale, items=fill_items)
    assert pair.items is not None  # noqa: S101 - given above
    return pair.parameter.detach().numpy(), pair.items.detach().numpy()


def projected(
    users: FloatArray, project: Callable[[], Tensor], start: UserStart, *, scale: Scale
) -> Float32Array:
    """Users' table in the space of projected items, as the start leaves it."""
    table = UserTable(
        "users", parameter(users), "projected", modality=next(iter(start.users)), project=project
    )
    fill(table, start, scale=scale, items="random")
    return table.parameter.detach().numpy()


def parameter(rows: FloatArray) -> nn.Parameter:
    """Copy an array into a parameter."""
    return nn.Parameter(torch.tensor(rows, dtype=torch.float32))
