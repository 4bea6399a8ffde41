"""The values that a search chooses from, and the steps from one value to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sgurinit.errors import InputError
from sgurinit.experiments.settings import RunSettings
from sgurinit.resolve import resolve_config, resolve_model


class SearchField(NamedTuple):
    """A field of a run that a search sets."""

    part: Literal["config", "initializer"]
    """``"config"``: a field of the model. ``"initializer"``: a field of the arm."""
    name: str
    """Name of the field."""

    def read(self, run: RunSettings) -> Any:
        """Return the field's value in `run`."""
        return getattr(run, self.part)[self.name]

    def format(self, arm: str) -> str:
        """Name the field in a table: ``"reg"`` of the model, ``"sgurinit.scale"`` of an arm."""
        return self.name if self.part == "config" else f"{arm}.{self.name}"


ValueLists = dict[SearchField, list[Any]]


def combine_spaces(
    of_model: Mapping[str, Sequence[Any]], of_arm: Mapping[str, Sequence[Any]]
) -> ValueLists:
    """Combine the search spaces of a model and an arm."""
    space: ValueLists = {SearchField("config", name): list(of_model[name]) for name in of_model}
    return space | {SearchField("initializer", name): list(of_arm[name]) for name in of_arm}


def set_values(run: RunSettings, values: Mapping[SearchField, Any]) -> RunSettings:
    """Return `run` with other values of some fields."""
    changed = {"config": dict(run.config), "initializer": dict(run.initializer)}
    for (part, name), value in values.items():
        changed[part][name] = value
    return run.model_copy(update=changed)


def add_values(space: ValueLists, other: ValueLists) -> ValueLists:
    """Add the values of another space to the lists of the fields that both have."""
    return {
        field: [*values, *(value for value in other.get(field, ()) if value not in values)]
        for field, values in space.items()
    }


def list_changes(run: RunSettings, space: ValueLists) -> list[RunSettings]:
    """List the runs that have another value in one of the fields."""
    return [
        set_values(run, {field: value})
        for field, values in space.items()
        for value in values
        if value != field.read(run)
    ]


def list_neighbors(run: RunSettings, space: ValueLists) -> list[RunSettings]:
    """List the runs that differ from `run` in one field, by one position in its list of values.

    Lists of numbers are sorted first. A value of `run` that is missing in its list is added.
    """
    found = []
    for field, values in space.items():
        value = field.read(run)
        listed = values if value in values else [*values, value]
        if _are_numbers(listed):
            listed = sorted(listed)
        at = listed.index(value)
        found += [
            set_values(run, {field: listed[position]})
            for position in (at - 1, at + 1)
            if 0 <= position < len(listed)
        ]
    return found


def next_value(values: Sequence[Any], value: Any) -> float | int | None:
    """Return the next value beyond `value`, if that is at the edge of a list of numbers.

    The last two values give the step: their ratio if both are positive floats, else their
    difference. Integers stay integers. A step does not cross 0, and none leads beyond 0.

    Returns
    -------
    int, float or None
        None: there is no list of at least two numbers, `value` is inside it, or it is 0.

    Examples
    --------
    >>> next_value([1e-4, 1e-3, 1e-2], 1e-2), next_value([1, 2, 4], 4), next_value([0, 1], 0)
    (0.1, 6, None)
    """
    if not _are_numbers(values) or _direction(values, value) == 0 or value == 0:
        return None
    before, last = sorted(values, reverse=_direction(values, value) < 0)[-2:]
    if isinstance(last, int) and isinstance(before, int):
        found: float | int = 2 * last - before
    elif before > 0 and last > 0:
        found = float(f"{last * (last / before):.6g}")
    else:
        found = float(f"{2 * last - before:.6g}")
    return found if found * last > 0 else type(last)(0)


def list_edges(run: RunSettings, space: ValueLists) -> list[SearchField]:
    """List the fields of `run` whose value is at the edge of its list, but not of its range."""
    found = []
    for field, values in space.items():
        direction = _direction(values, field.read(run)) if _are_numbers(values) else 0
        if direction and is_allowed(set_values(run, {field: _beyond(field.read(run), direction)})):
            found.append(field)
    return found


def is_allowed(run: RunSettings) -> bool:
    """Whether the model and the initializer accept the settings of `run`."""
    try:
        resolve_config(resolve_model(run.model), run.config)
        run.make_initializer()
    except InputError:
        return False
    return True


def _are_numbers(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(type(value) in (int, float) for value in values)


def _direction(values: Sequence[Any], value: Any) -> int:
    """Return 1 if `value` is the largest of the values, -1 if it is the smallest, else 0."""
    return int(value == max(values)) - int(value == min(values))


def _beyond(value: float, direction: int) -> float | int:
    """Return the closest value beyond `value`."""
    if isinstance(value, int):
        return value + direction
    return math.nextafter(value, direction * math.inf)
