"""From a start to a model's user tables: the only place that knows how to fill them.

Runs after the model's construction, so nothing that the constructor does can undo it, and changes
no code of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from sgurinit.core import UserStart
from sgurinit.core.reduce import match_scale
from sgurinit.errors import InputError
from sgurinit.models.base import Recommender, Space, UserTable

Scale = Literal["table", "items"] | float | None
FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
Items = Literal["random", "features"]

# Started tables are brought to so many times the norm of their random start: an optimiser whose
# settings suit random rows would soon undo a start that is no larger than those.
TIMES = 4.0


@dataclass(frozen=True)
class TableReport:
    """What a start did to one table. Norms are mean Euclidean norms of the rows.

    Attributes
    ----------
    table
        Name of the parameter.
    space
        Space that the table lives in, see `UserTable`.
    modality
        The modality of a raw or projected space, else None.
    norm_before, norm_after
        Of the user table, at its random start and as it was left.
    norm_start
        Of the start's rows before scale matching; None where the table was left as it was.
    norm_items
        Of the item side in the table's space; None where the space has no item side.
    items_filled
        Whether the item table that shares a free space was filled too.
    columns_filled
        Columns that the start reached; below the width where the features span fewer directions.
        None where the table was left as it was.
    """

    table: str
    space: Space
    modality: str | None
    norm_before: float
    norm_after: float
    norm_start: float | None
    norm_items: float | None
    items_filled: bool = False
    columns_filled: int | None = None


@dataclass(frozen=True)
class HandoverReport:
    """What an initialiser did to a model.

    Attributes
    ----------
    initialiser
        Name of its class.
    tables
        One entry per user table.
    start
        The start's diagnostics (policies that applied, cluster sizes, norms, semantic gap), plain
        data; None where no start was computed.
    """

    initialiser: str
    tables: tuple[TableReport, ...]
    start: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def hand_over(
    model: Recommender, start: UserStart, *, scale: Scale = TIMES, items: Items = "features"
) -> tuple[TableReport, ...]:
    """Fill every user table that `model` declares.

    Parameters
    ----------
    model
        A freshly built model.
    start
        A start for the users that the model was built for.
    scale, items
        See `initialize_`.

    Returns
    -------
    tuple of TableReport
        In the order of ``model.user_tables()``.

    Raises
    ------
    InputError
        The start is for other users or items, lacks a modality or has too few dimensions.
    """
    return tuple(fill(table, start, scale=scale, items=items) for table in model.user_tables())


def untouched(tables: Iterable[UserTable]) -> tuple[TableReport, ...]:
    """Reports on tables that keep their random start."""
    reports = []
    for table in tables:
        norm = _mean_norm(table.parameter)
        side = table.project() if table.project is not None else table.items
        reports.append(
            TableReport(
                table=table.name,
                space=table.space,
                modality=table.modality,
                norm_before=norm,
                norm_after=norm,
                norm_start=None,
                norm_items=None if side is None else _mean_norm(side),
            )
        )
    return tuple(reports)


def initialize_(
    parameter: nn.Parameter | nn.Embedding,
    start: UserStart,
    *,
    space: Space = "id",
    modality: str | None = None,
    project: Tensor | None = None,
    items: nn.Parameter | nn.Embedding | None = None,
    scale: Scale = TIMES,
) -> TableReport:
    """Fill one user table of any torch module, in place.

    Parameters
    ----------
    parameter
        The table or its embedding layer, ``(n_users, width)``.
    start
        A start for these users, in the table's row order.
    space
        ``"id"``: a free space, filled from item features reduced to the table's width;
        ``"raw"``: the space of a `modality` as it is; ``"projected"``: the space of `project`.
    modality
        Name of the modality of a raw or projected space.
    project
        For a projected space: the items' vectors in it, ``(n_items, width)``, at the module's
        initial weights.
    items
        For a free space: the item table to fill from the same reduced features, scaled to its own
        random start's mean norm or, where `scale` is a number, so many times that. Left alone where
        None.
    scale
        Mean row norm that the start is brought to: a number above 0, so many times that of the
        table's own random start; ``"table"``, just that; ``"items"``, that of the item side of the
        space; None, left as computed.

    Returns
    -------
    TableReport
        Norms before and after.

    Raises
    ------
    InputError
        Shapes, modality or scale do not fit together.

    Examples
    --------
    >>> initialize_(model.user_embedding, start)  # doctest: +SKIP
    """
    if space not in get_args(Space):
        raise InputError(f"space is {space!r}, expected one of {', '.join(get_args(Space))}")
    if items is not None and space != "id":
        raise InputError(f"items go with a free space (space='id'), not with space={space!r}")
    table = UserTable(
        name="parameter",
        parameter=_weight(parameter),
        space=space,
        modality=modality,
        project=None if project is None else lambda: project,
        items=None if items is None else _weight(items),
    )
    return fill(table, start, scale=scale, items="random" if items is None else "features")


def fill(table: UserTable, start: UserStart, *, scale: Scale, items: Items) -> TableReport:
    """Fill one declared table; see `hand_over`."""
    _check(table, start)
    times = _times(scale)
    users, norm_items = _start_in(table, start)
    fill_items = items == "features" and table.items is not None
    if table.items is not None:
        if fill_items:
            rows = start.reduced(table.items.shape[1]).items
            _land(table.items, match_scale(rows, times * _mean_norm(table.items)), table.name)
        norm_items = _mean_norm(table.items)
    before = _mean_norm(table.parameter)
    norm_start = float(np.linalg.norm(users, axis=1).mean())
    if scale is not None:
        users = match_scale(users, norm_items if scale == "items" else times * before)
    _land(table.parameter, users, table.name)
    return TableReport(
        table=table.name,
        space=table.space,
        modality=table.modality,
        norm_before=before,
        norm_after=_mean_norm(table.parameter),
        norm_start=norm_start,
        norm_items=norm_items,
        items_filled=fill_items,
        columns_filled=int(users.any(axis=0).sum()),
    )


def _times(scale: Scale) -> float:
    """How many times its own mean norm a table is brought to, where it is so."""
    if scale in {"table", "items", None}:
        return 1.0
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < inf:
        raise InputError(f"scale is {scale!r}, expected 'table', 'items', None or a number above 0")
    return float(scale)


def _start_in(table: UserTable, start: UserStart) -> tuple[FloatArray, float]:
    """Start's users in the table's space, and the mean row norm of the items there."""
    if table.space == "id":
        reduced = start.reduced(table.parameter.shape[1])
        return reduced.users, float(np.linalg.norm(reduced.items, axis=1).mean())
    if table.modality is None or table.modality not in start.users:
        raise InputError(
            f"table {table.name!r} is in the space of modality {table.modality!r}, which the "
            f"start does not have; it has {', '.join(start.users)}"
        )
    if table.space == "raw":
        norm = start.diagnostics.modalities[table.modality].item_mean_norm
        if not start.config.get("collaborative"):
            return start.users[table.modality], norm
        return start.carried(start.features(table.modality)), norm
    if table.project is None:
        raise InputError(
            f"table {table.name!r} is in a projected space, expected the items' vectors in it; "
            "pass `project`"
        )
    with torch.no_grad():
        projected = table.project().detach().cpu().numpy()
    present = start.clusters[table.modality].labels >= 0
    norm = float(np.linalg.norm(projected[present], axis=1).mean())
    if not start.config.get("collaborative"):
        return start.on(projected, present)[0], norm
    return start.carried(np.where(present[:, None], projected, 0.0)), norm


def _check(table: UserTable, start: UserStart) -> None:
    if table.parameter.is_meta:
        raise InputError(
            f"table {table.name!r} is on the meta device, which holds no values: materialise the "
            "model (to_empty, then its own reset) and hand the start over after"
        )
    rows = table.parameter.shape[0]
    if rows != start.n_users:
        raise InputError(
            f"table {table.name!r} has {rows} rows, the start has {start.n_users} users; "
            "fit the start on the interactions that the model was built for"
        )


@torch.no_grad()
def _land(parameter: nn.Parameter, values: FloatArray, name: str) -> None:
    if tuple(parameter.shape) != values.shape:
        raise InputError(
            f"table {name!r} has shape {tuple(parameter.shape)}, the start's vectors have "
            f"{values.shape}; they must be equal"
        )
    local: Tensor = parameter
    rows = slice(None)
    if isinstance(parameter, DTensor):
        local, rows = parameter.to_local(), local_rows(parameter, name)
    local.copy_(torch.from_numpy(np.ascontiguousarray(values[rows])))


def local_rows(table: DTensor, name: str) -> slice:
    """Rows of a table in row shards that this process holds."""
    if table.device_mesh.ndim != 1 or not table.placements[0].is_shard(0):
        raise InputError(
            f"table {name!r} is spread as {table.placements}, expected shards of its rows"
        )
    size = -(-table.shape[0] // table.device_mesh.size())
    first = min(table.shape[0], size * table.device_mesh.get_local_rank())
    return slice(first, first + table.to_local().shape[0])


def _weight(table: nn.Parameter | nn.Embedding) -> nn.Parameter:
    return cast(nn.Parameter, table.weight) if isinstance(table, nn.Embedding) else table


def _mean_norm(table: Tensor) -> float:
    norm = table.detach().norm(dim=1).mean()
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
