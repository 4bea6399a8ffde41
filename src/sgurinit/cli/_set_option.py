"""The grammar of ``--set NAME.FIELD=VALUE``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sgurinit.errors import InputError
from sgurinit.resolve import build
from sgurinit.training import TrainSettings


def parse_assignments(
    assignments: Iterable[str], loop: Mapping[str, Any]
) -> tuple[TrainSettings, dict[str, dict[str, Any]]]:
    """Parse assignments to settings of the training loop and fields of models and arms.

    Parameters
    ----------
    assignments : iterable of str
        Assignments such as ``"vbpr.reg=0.01"``. The name ``train`` is the training loop. A value
        that is not JSON is a string.
    loop : mapping
        Fields of the training loop that other options set. Assignments override them.

    Returns
    -------
    tuple of TrainSettings and dict
        Settings of the training loop, and fields by name, as `compare` takes them for `overrides`.

    Raises
    ------
    InputError
        An assignment has another form, or a field of the training loop does not exist or is out of
        range.
    """
    fields: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        name, dot, field = target.strip().partition(".")
        if not (equals and dot and name and field):
            raise InputError(
                f"assignments: {assignment!r} is not NAME.FIELD=VALUE, such as vbpr.reg=0.01"
            )
        try:
            fields.setdefault(name, {})[field] = json.loads(value)
        except ValueError:
            fields.setdefault(name, {})[field] = value
    own = {**loop, **fields.pop("train", {})}
    return build(TrainSettings, own, prefix="train"), fields
