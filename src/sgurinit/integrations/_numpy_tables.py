"""Frameworks whose tables are NumPy arrays: filled by way of the hand-over's own function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sgurinit.core import UserStart
from sgurinit.core.inputs.features import Float32Array, FloatArray
from sgurinit.handover import Scale, fill
from sgurinit.models.base import UserTable


def started(
    users: FloatArray, items: FloatArray, start: UserStart, *, scale: Scale, fill_items: bool
) -> tuple[Float32Array, Float32Array]:
    """Users' and items' tables of a free space as the start leaves them; the given ones stay."""
    pair = UserTable("users", parameter(users), "free", items=parameter(items))
    fill([pair], start, scale, fill_items=fill_items)
    assert pair.items is not None  # noqa: S101 - given above
    return pair.parameter.detach().numpy(), pair.items.detach().numpy()


def projected(
    users: FloatArray, item_vectors: Tensor, start: UserStart, modality: str, *, scale: Scale
) -> Float32Array:
    """Users' table in the space of a modality's projected items, as the start leaves it."""
    table = UserTable(
        "users", parameter(users), "projected", modality=modality, features=item_vectors
    )
    fill([table], start, scale, fill_items=False)
    return table.parameter.detach().numpy()


def parameter(rows: FloatArray) -> nn.Parameter:
    """Copy an array into a parameter."""
    return nn.Parameter(torch.tensor(rows, dtype=torch.float32))
