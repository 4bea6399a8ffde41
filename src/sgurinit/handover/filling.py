"""Writing a start into tables, in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sgurinit.core import UserStart
from sgurinit.core.inputs.arrays import FloatArray
from sgurinit.core.inputs.conversion import to_array
from sgurinit.core.inputs.features import row_norms, widen_bfloat16
from sgurinit.errors import InputError
from sgurinit.handover.checks import (
    MATERIALIZE,
    UNNAMED,
    check_option,
    check_start,
    check_switch,
    check_table,
    label,
)
from sgurinit.handover.distributed import is_distributed
from sgurinit.handover.reports import TableReport
from sgurinit.handover.scaling import (
    DEFAULT_SCALE,
    Scale,
    mean_norm,
    scale_and_complete,
    scale_factor,
    scale_rows,
)
from sgurinit.handover.vectors import check_preprocess, users_in_space
from sgurinit.models.base import TableSpace, UserTable

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def initialize_(
    parameter: Tensor | nn.Embedding | nn.EmbeddingBag,
    start: UserStart,
    *,
    space: TableSpace = "free",
    modality: str | None = None,
    item_vectors: Tensor | FloatArray | None = None,
    items: Tensor | nn.Embedding | nn.EmbeddingBag | None = None,
    scale: Scale = DEFAULT_SCALE,
) -> TableReport:
    """Fill one user table of any torch module, in place.

    Parameters
    ----------
    parameter : Parameter, Embedding or EmbeddingBag, shape (n_users, width)
        The table or its embedding layer. Or a slice of the table without its row for padding, such
        as ``users.weight[1:]``.
    start : UserStart
        A start for these users, in the order of the table's rows.
    space : {"free", "raw", "projected"}, default "free"
        ``"free"``: a space of the model's own, filled from item features reduced to the table's
        width. ``"raw"``: the features of a `modality`. ``"projected"``: the space to which the
        model maps the features of a `modality`.
    modality : str, optional
        Name of the modality of a raw or projected space.
    item_vectors : Tensor or ndarray, shape (n_items, width), optional
        The items' vectors in a raw or projected space. A projected space needs them, at the
        module's initial weights.
    items : Parameter, Embedding or EmbeddingBag, shape (n_items, width), optional
        The item table of a free space, or a slice of it, to be filled from the same items. By
        default no item table is filled.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows. A number: that many times the norm of the table's own
        random rows. ``"table"``: the norm of those. ``"items"``: the norm of the items in the
        table's space. None: rows are not rescaled. An item table is scaled to the norm of its
        random rows, times a number given here.

    Returns
    -------
    TableReport
        What was done, with the norms before and after.

    Raises
    ------
    InputError
        Shapes, modality or scale do not fit together, an argument has the wrong type, or the
        start's `preprocess` has no effect on this table.

    See Also
    --------
    hand_over : Fills all tables of a model of this library.
    sgurinit.integrations.torch.attach : Fills all tables of any torch module.

    Examples
    --------
    >>> import torch
    >>> from sgurinit import SGURInit, initialize_
    >>> from sgurinit.data import planted
    >>> data = planted(200, 100)
    >>> start = SGURInit(random_state=0).fit(data).start_
    >>> users, items = torch.nn.Embedding(200, 16), torch.nn.Embedding(100, 16)
    >>> initialize_(users, start, items=items).items_filled
    True
    """
    check_start(start)
    check_option("space", space, get_args(TableSpace))
    if items is not None and space != "free":
        raise InputError(f'items go with a free space (space="free"), not with space={space!r}')
    if item_vectors is not None and space == "free":
        raise InputError("item_vectors go with a raw or projected space; a free one takes items")
    table = UserTable(
        name=UNNAMED,
        parameter=_weight(parameter, "parameter"),
        space=space,
        modality=modality,
        features=_tensor(item_vectors),
        project=None,
        items=None if items is None else _weight(items, "items"),
    )
    return fill_tables_([table], start, scale, fill_items=items is not None)[0]


def fill_tables_(
    tables: Sequence[UserTable],
    start: UserStart,
    scale: Scale = DEFAULT_SCALE,
    *,
    fill_items: bool = True,
    width: int | None = None,
) -> tuple[TableReport, ...]:
    """Fill declared user tables, in place.

    All rows are computed before the first table is written. Tables in a projected space are filled
    once, at the projection's present weights.

    Parameters
    ----------
    tables : sequence of UserTable
        The tables to fill.
    start : UserStart
        A start for the users of the tables, in the order of their rows.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows. A number: that many times the norm of the table's own
        random rows. ``"table"``: the norm of those. ``"items"``: the norm of the items in the
        table's space. None: rows are not rescaled. An item table is scaled to the norm of its
        random rows, times a number given here.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items. A user's vector only
        has a meaning among the items of the same space.
    width : int, >= 1, optional
        Width of the joint space that a collaborative start is carried from into raw and projected
        spaces, where it has no ``joint_dim``. The width of each table by default.

    Returns
    -------
    tuple of TableReport
        In the order of the tables.

    Raises
    ------
    InputError
        The start is for other users or items, lacks a modality or has too few dimensions, or a
        setting has no effect on any table.

    See Also
    --------
    hand_over : Fills the tables that a model declares.
    initialize_ : Fills one table of any torch module.

    Examples
    --------
    >>> from torch import nn
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import UserTable
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> users, items = nn.Embedding(200, 16), nn.Embedding(100, 16)
    >>> table = UserTable("users", users.weight, "free", items=items.weight)
    >>> (report,) = fill_tables_([table], start)
    >>> report.items_filled
    True
    """
    check_switch("fill_items", fill_items)
    check_start_preprocess(tables, start)
    writes = [
        prepare_fill(table, start, scale, fill_items=fill_items, width=width) for table in tables
    ]
    return tuple(write() for write in writes)


def check_start_preprocess(tables: Sequence[UserTable], start: UserStart) -> None:
    """Refuse a start whose preprocessing steps would change no table."""
    check_preprocess(tables, start.config["preprocess"], start.config["collaborative"])


def prepare_fill(
    table: UserTable, start: UserStart, scale: Scale, *, fill_items: bool, width: int | None
) -> Callable[[], TableReport]:
    """Compute the rows of a table; return a function that writes them.

    Nothing is changed before that function is called.
    """
    check_table(table, start)
    factor = scale_factor(scale)
    before = mean_norm(table.parameter)
    users, norm_items = users_in_space(table, start, width)
    item_rows: FloatArray | None = None
    if table.items is not None:
        norm_items = mean_norm(table.items)
        if fill_items:
            rows = start.joint(table.items.shape[1]).items
            item_rows = scale_and_complete(rows, table.items, factor * norm_items)
            _check_shape(table.items, item_rows, table.name)
            norm_items = float(row_norms(item_rows).mean())
    norm_users = None if scale is None else norm_items if scale == "items" else factor * before
    if norm_users == 0:
        raise InputError(
            f"{label(table.name)} would stay zero: scale={scale!r} multiplies a norm of 0; set "
            "scale=None, or fill the table with random values first"
        )
    user_rows = (
        scale_and_complete(users, table.parameter, norm_users)
        if table.space == "free"
        else scale_rows(users, norm_users)
    )
    _check_shape(table.parameter, user_rows, table.name)

    def write() -> TableReport:
        if item_rows is not None and table.items is not None:
            _write_rows_(table.items, item_rows, table.name)
        _write_rows_(table.parameter, user_rows, table.name)
        return TableReport(
            table=table.name,
            space=table.space,
            modality=table.modality,
            norm_before=before,
            norm_after=mean_norm(table.parameter),
            norm_start=float(row_norms(users).mean()),
            norm_items=norm_items,
            items_filled=item_rows is not None,
            columns_filled=int(users.any(axis=0).sum()),
            projected="once" if table.space == "projected" else None,
        )

    return write


def _check_shape(parameter: nn.Parameter, values: FloatArray, name: str) -> None:
    largest = torch.finfo(parameter.dtype).max
    if abs(values).max(initial=0.0) > largest:
        raise InputError(
            f"{label(name)} holds {parameter.dtype}, which ends at {largest:.4g}, and the start "
            "needs larger numbers: choose a smaller scale"
        )
    if tuple(parameter.shape) != values.shape:
        raise InputError(
            f"{label(name)} has shape {tuple(parameter.shape)}, the start's vectors have "
            f"{values.shape}; they must be equal"
        )


@torch.no_grad()
def _write_rows_(parameter: nn.Parameter, values: FloatArray, name: str) -> None:
    local: Tensor = parameter
    rows = slice(None)
    if is_distributed(parameter):
        local, rows = parameter.to_local(), _local_rows(parameter, name)
    local.copy_(torch.from_numpy(np.ascontiguousarray(values[rows])))


def _local_rows(table: DTensor, name: str) -> slice:
    """Return the rows of a row-sharded table that this process holds."""
    if table.device_mesh.ndim != 1 or not table.placements[0].is_shard(0):
        raise InputError(
            f"{label(name)} is distributed as {table.placements}, expected shards of its rows"
        )
    size = -(-table.shape[0] // table.device_mesh.size())
    first = min(table.shape[0], size * table.device_mesh.get_local_rank())
    return slice(first, first + table.to_local().shape[0])


def _tensor(values: Tensor | FloatArray | None) -> Tensor | None:
    if values is None:
        return None
    rows = widen_bfloat16(to_array(values, "item_vectors"))
    if rows.ndim != 2 or rows.dtype.kind not in "iuf":
        raise InputError(
            f"item_vectors are {rows.dtype} of shape {rows.shape}, expected a table of numbers "
            "with a row per item"
        )
    with np.errstate(over="ignore"):  # what is not finite is refused where it is used
        return torch.from_numpy(rows.astype(np.float32))


def _weight(table: Tensor | nn.Embedding | nn.EmbeddingBag, name: str) -> nn.Parameter:
    """Return a layer's table, or the table. A slice becomes a view, through which it is filled."""
    if isinstance(table, nn.Embedding | nn.EmbeddingBag):
        table = table.weight
    if isinstance(table, nn.Module):
        raise InputError(
            f"{name} is a {type(table).__name__} module, expected one table, such as "
            "model.user_embedding; sgurinit.integrations.torch.attach takes a module"
        )
    if not isinstance(table, Tensor):
        raise InputError(f"{name} is of type {type(table).__name__}, expected a torch Parameter")
    if table.layout is not torch.strided or not table.is_floating_point() or table.ndim != 2:
        raise InputError(
            f"{name} is a tensor of {table.dtype} and shape {tuple(table.shape)} with the layout "
            f"{table.layout}, expected a dense table of floating-point numbers"
        )
    if table.is_meta:
        raise InputError(f"{name} is on the meta device, which holds no values: {MATERIALIZE}")
    if any(step == 0 and size > 1 for step, size in zip(table.stride(), table.shape, strict=True)):
        raise InputError(f"{name} is an expanded tensor, whose rows share memory: clone it first")
    if table._is_view() and table._base is not None and table._base.is_leaf:
        table = table.detach()
    return cast(nn.Parameter, table)
