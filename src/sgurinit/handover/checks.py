"""Checks that a table can take a start."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.models.base import UserTable

PADDING_ADVICE = (
    "if one row is for padding, fill the others with sgurinit.initialize_, such as "
    "initialize_(users.weight[1:], start, items=items.weight[1:])"
)

MATERIALIZE = (
    "materialize the model (to_empty, then its own reset) and hand the start over after that"
)

# Name of a table that was passed by itself, so that only its owner knows what it is called.
UNNAMED = "parameter"


def label(name: str) -> str:
    """Return how messages refer to a table."""
    return "the table" if name == UNNAMED else f"table {name!r}"


def check_start(start: object) -> None:
    """Refuse anything but a start, such as a fitted estimator."""
    if not isinstance(start, UserStart):
        raise InputError(
            f"start is of type {type(start).__name__}, expected a UserStart; pass start_ of a "
            "fitted SGURInit"
        )


def check_option(name: str, value: object, known: Collection[str]) -> None:
    """Refuse any value of an option but the known ones."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def check_switch(name: str, value: object) -> None:
    """Refuse any value of a switch but True and False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}, expected True or False")


def check_table(table: UserTable, start: UserStart) -> None:
    """Refuse a table that holds no values, was handed over before or has other users."""
    if table.parameter.is_meta:
        raise InputError(
            f"{label(table.name)} is on the meta device, which holds no values: {MATERIALIZE}"
        )
    if not table.parameter.is_leaf:
        raise InputError(
            f"{label(table.name)} was handed over already: its users pass through the model's "
            "projection; build the model again"
        )
    rows = table.parameter.shape[0]
    if rows != start.n_users:
        advice = (
            PADDING_ADVICE
            if rows == start.n_users + 1
            else "fit the start on the interactions that the model was built for"
        )
        raise InputError(
            f"{label(table.name)} has {rows} rows, the start has {start.n_users} users; {advice}"
        )


def class_name(model: nn.Module) -> str:
    """Return the name of the model's class, also after a parametrization has replaced it."""
    return type_before_parametrizations(model).__name__
