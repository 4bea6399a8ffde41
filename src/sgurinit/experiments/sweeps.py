"""Sweeps over two fields: which arms of a comparison form a grid, and the scores in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sgurinit.arms import BASELINE

_FIELD = re.compile(r"-([a-z_]+)=")


@dataclass(frozen=True, eq=False)
class Sweep:
    """A sweep over two fields.

    Attributes
    ----------
    name : str
        Name of the arm in the study's file.
    fields : tuple of two str
        The field shown in columns, then the one shown in rows.
    arms : dict
        Name of each arm by its values of the two fields, in the order of the study.
    """

    name: str
    fields: tuple[str, str]
    arms: dict[tuple[str, str], str]


def find_sweeps(arms: Sequence[str]) -> list[Sweep]:
    """Find sweeps over two fields by the names that a study gives to their arms.

    Parameters
    ----------
    arms : sequence of str
        Names of all arms, such as ``"mine-n_clusters=8-local_weight=0.1"``.

    Returns
    -------
    list of Sweep
        Only complete grids. The field with more values is shown in columns.
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
            continue  # not a sweep: names that only look like those of one
        if len(ones) > len(twos):
            sweeps.append(Sweep(name, (first, second), cells))
        else:
            turned = {(two, one): arm for (one, two), arm in cells.items()}
            sweeps.append(Sweep(name, (second, first), turned))
    return sweeps


def drop_sweep_cells(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the cells of sweeps over two fields, which are shown as a heat map.

    If every entry is such a cell, all entries are returned.

    Parameters
    ----------
    entries : sequence of mapping
        Anything with an ``"arm"``.
    """
    sweeps = find_sweeps(list(dict.fromkeys(entry["arm"] for entry in entries)))
    cells = {arm for sweep in sweeps for arm in sweep.arms.values()}
    return [entry for entry in entries if entry["arm"] not in cells] or list(entries)


def sweep_scores(validation: pl.DataFrame, sweep: Sweep) -> pl.DataFrame:
    """Average the validation scores of one model in every cell of a sweep.

    Parameters
    ----------
    validation : DataFrame
        Scores of one model: arm, seed, value.
    sweep : Sweep
        Where every arm belongs.

    Returns
    -------
    DataFrame
        Columns across, down, score (mean over the seeds) and lift over the baseline, which is null
        if the baseline is not an arm.
    """
    means: dict[str, float] = dict(
        validation.group_by("arm").agg(pl.col("value").mean()).iter_rows()
    )
    baseline = means.get(BASELINE)
    rows = [
        (across, down, means[arm], means[arm] / baseline - 1 if baseline else None)
        for (across, down), arm in sweep.arms.items()
    ]
    schema = {"across": str, "down": str, "score": float, "lift": float}
    return pl.DataFrame(rows, schema=schema, orient="row")
