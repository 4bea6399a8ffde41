"""Test scores of single users, as the runs have saved them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit.evaluation import group_users
from sgurinit.experiments.run import METRIC_NAMES
from sgurinit.experiments.run_tables import read_run_table

ALL = "all"  # the group of all users

Scores = Mapping[str, np.ndarray[Any, Any]]


def read_scores_by_group(folder: Path) -> Iterator[tuple[str, Scores]]:
    """Read the test scores of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Yields
    ------
    tuple of str and mapping
        Name of a group and, by metric, the scores of its users, shape ``(n,)``. The first group is
        all users. Then there are groups of users by their number of training interactions, and
        groups of items, see `group_items`.

    Raises
    ------
    InputError
        A table is missing or damaged.
    """
    users = read_run_table(folder / "users.parquet", [*METRIC_NAMES, "n_train"])
    yield ALL, _metric_columns(users)
    for name, members in group_users(users["n_train"].to_numpy()).items():
        yield name, _metric_columns(users.filter(members))
    groups = read_run_table(folder / "groups.parquet", METRIC_NAMES, ["group"])
    for (name,), part in groups.group_by("group", maintain_order=True):
        yield str(name), _metric_columns(part)


def read_user_scores(folders: Sequence[Path]) -> list[pl.DataFrame] | None:
    """Read the test scores of every user and seed.

    Parameters
    ----------
    folders : sequence of Path
        Folders of the runs, one per seed.

    Returns
    -------
    list of DataFrame or None
        One per seed: column user_id and a column per metric. None if the scores of a run are
        missing.

    Raises
    ------
    InputError
        A table is damaged.
    """
    files = [folder / "users.parquet" for folder in folders]
    if not all(file.is_file() for file in files):
        return None
    return [read_run_table(file, METRIC_NAMES, ["user_id"]) for file in files]


def _metric_columns(table: pl.DataFrame) -> Scores:
    return {name: table[name].to_numpy() for name in METRIC_NAMES}
