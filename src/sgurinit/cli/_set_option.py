"""Settings as a command line gives them: ``NAME.FIELD=VALUE``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sgurinit.errors import InputError
from sgurinit.resolve import build
from sgurinit.training import TrainSettings


def read_assignments(
    assignments: Iterable[str], loop: Mapping[str, Any]
) -> tuple[TrainSettings, dict[str, dict[str, Any]]]:
    """Split assignments into settings of the loop and fields of models and arms.

    Parameters
    ----------
    assignments
        ``"vbpr.reg=0.01"`` and the like; the name ``train`` stands for the loop. A value that is no
        JSON is a string.
    loop
        Fields of the loop that were given otherwise; assignments win.

    Returns
    -------
    tuple
        Settings of the loop, and fields by name as `compare` takes them for `overrides`.

    Raises
    ------
    InputError
        An assignment has another form, or a field of the loop is unknown or out of range.
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
