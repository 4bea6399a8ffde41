"""Frameworks whose tables are NumPy arrays: filled copies of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sgurinit.core import UserStart
from sgurinit.core.inputs.arrays import Float32Array, FloatArray
from sgurinit.handover import Scale, fill_tables_
from sgurinit.models.base import UserTable


def fill_copies(
    users: FloatArray, items: FloatArray, start: UserStart, *, scale: Scale, fill_items: bool
) -> tuple[Float32Array, Float32Array]:
    """Return filled copies of the user and the item table of a free space."""
    table = UserTable("users", _as_parameter(users), "free", items=_as_parameter(items))
    fill_tables_([table], start, scale, fill_items=fill_items)
    assert table.items is not None  # noqa: S101 - given above
    return table.parameter.detach().numpy(), table.items.detach().numpy()


def fill_projected_copy(
    users: FloatArray, item_vectors: Tensor, start: UserStart, modality: str, *, scale: Scale
) -> Float32Array:
    """Return a filled copy of the user table in the space of a modality's projected items."""
    table = UserTable(
        "users", _as_parameter(users), "projected", modality=modality, features=item_vectors
    )
    fill_tables_([table], start, scale, fill_items=False)
    return table.parameter.detach().numpy()


def _as_parameter(rows: FloatArray) -> nn.Parameter:
    return nn.Parameter(torch.tensor(rows, dtype=torch.float32))
