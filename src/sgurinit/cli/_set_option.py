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
        An assignment has another form, a field is set twice, or a field of the training loop does
        not exist or is out of range.
    """
    fields: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        name, dot, field = (part.strip() for part in target.partition("."))
        if not (equals and dot and name and field):
            raise InputError(
                f"assignments: {assignment!r} is not NAME.FIELD=VALUE, such as vbpr.reg=0.01"
            )
        own = fields.setdefault("train" if name.lower() == "train" else name, {})
        if field in own:
            raise InputError(f"assignments: {name}.{field} is set twice; set it once")
        try:
            own[field] = json.loads(value)
        except ValueError:
            own[field] = value
    settings = {**loop, **fields.pop("train", {})}
    return build(TrainSettings, settings, prefix="train"), fields
