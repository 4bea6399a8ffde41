"""Which arms of a comparison are the cells of a sweep over two fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sgurinit.experiments.lifts import Entry

_FIELD = re.compile(r"-([a-z_]+)=")


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep over two fields.

    Attributes
    ----------
    name
        Name of the arm that was swept.
    fields
        Which fields: across and down.
    arms
        Arm by its two values, in the order of the study.
    """

    name: str
    fields: tuple[str, str]
    arms: dict[tuple[str, str], str]


def find_sweeps(arms: Sequence[str]) -> list[Sweep]:
    """Find arms named as a study names those of a sweep, `mine-n_clusters=8-local_weight=0.1`.

    Parameters
    ----------
    arms
        Names of all arms.

    Returns
    -------
    list of Sweep
        Sweeps over two fields, whole ones; the field with more values goes across.
    """
    found: dict[tuple[str, str, str], dict[tuple[str, str], str]] = {}
    for arm in arms:
        name, *rest = _FIELD.split(arm)
        if len(rest) == 4:
            first, one, second, two = rest
            found.setdefault((name, first, second), {})[one, two] = arm
    sweeps = []
    for (name, first, second), cells in found.items():
        ones, twos = ({values[part] for values in cells} for part in (0, 1))
        if len(cells) < len(ones) * len(twos):
            continue  # named alike by hand
        if len(ones) > len(twos):
            sweeps.append(Sweep(name, (first, second), cells))
        else:
            turned = {(two, one): arm for (one, two), arm in cells.items()}
            sweeps.append(Sweep(name, (second, first), turned))
    return sweeps


def without_cells(entries: Sequence[Entry]) -> list[Entry]:
    """Entries to list in a table: the cells of a sweep over two fields have a picture instead."""
    sweeps = find_sweeps(list(dict.fromkeys(entry["arm"] for entry in entries)))
    cells = {arm for found in sweeps for arm in found.arms.values()}
    return [entry for entry in entries if entry["arm"] not in cells] or list(entries)
