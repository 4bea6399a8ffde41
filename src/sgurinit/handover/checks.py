"""Checks that a table can take a start."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.models.base import UserTable


def check_table(table: UserTable, start: UserStart) -> None:
    """Refuse a table that holds no values, was handed over before or has other users."""
    if table.parameter.is_meta:
        raise InputError(
            f"table {table.name!r} is on the meta device, which holds no values: materialize the "
            "model (to_empty, then its own reset) and hand the start over after that"
        )
    if not table.parameter.is_leaf:
        raise InputError(
            f"table {table.name!r} was handed over already: its users pass through the model's "
            "projection; build the model again"
        )
    rows = table.parameter.shape[0]
    if rows != start.n_users:
        raise InputError(
            f"table {table.name!r} has {rows} rows, the start has {start.n_users} users; "
            "fit the start on the interactions that the model was built for"
        )


def class_name(model: nn.Module) -> str:
    """Return the name of the model's class, also after a parametrization has replaced it."""
    return type_before_parametrizations(model).__name__
