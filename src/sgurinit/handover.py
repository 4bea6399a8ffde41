"""From a start to a model's user tables: the only place that knows how to fill them.

Runs after the model's construction, so nothing that the constructor does can undo it, and changes
no code of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.core import UserStart
from sgurinit.core.inputs.features import BoolArray, Float32Array, FloatArray, row_norms
from sgurinit.errors import InputError
from sgurinit.models.base import Recommender, Space, UserTable

Scale = Literal["table", "items"] | float | None
Projected = Literal["once", "through", "added"]

# Tables are brought to so many times the norm of their random start: an optimiser whose settings
# suit random rows would soon undo a start that is no larger than those.
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
        Columns that the start reached. Below the width where the features span fewer directions:
        the others keep the model's own random values, scaled. None where the table was left as it
        was.
    projected
        How a table in a projected space was filled, see `hand_over`; None for the others.
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
    projected: Projected | None = None


@dataclass(frozen=True)
class HandoverReport:
    """What an initializer did to a model.

    Attributes
    ----------
    initializer : str
        Name of the arm.
    tables : tuple of TableReport
        One entry per user table.
    start : mapping or None
        The start's diagnostics (policies that applied, cluster sizes, norms, semantic gap), plain
        data; None where no start was computed.
    frozen : bool
        Whether the tables stay as they were left, see `freeze_`.
    """

    initializer: str
    tables: tuple[TableReport, ...]
    start: Mapping[str, Any] | None = None
    frozen: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def hand_over(
    model: Recommender,
    start: UserStart,
    *,
    scale: Scale = TIMES,
    fill_items: bool = True,
    projected: Projected = "once",
    tables: Sequence[UserTable] | None = None,
) -> tuple[TableReport, ...]:
    """Fill every user table that `model` declares, in place.

    Parameters
    ----------
    model : Recommender
        A freshly built model.
    start : UserStart
        A start for the users that the model was built for.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm that the rows are brought to: a number, so many times that of the table's own
        random start; ``"table"``, just that; ``"items"``, that of the item side of the space; None,
        left as computed.
    fill_items : bool, default True
        Whether the item table that shares a free space starts from the same items, scaled to its
        own random start's mean norm or, where `scale` is a number, so many times that. A user's
        start means something only among items of its space.
    projected : {"once", "through", "added"}, default "once"
        How tables in a projected space start. ``"once"``: the method on the items that the model's
        projection gives at its initial weights. ``"through"``: the table is replaced; users stay at
        the width of the features and pass through the model's own, trained projection in every
        step, as items do. ``"added"``: the same, added to the table, which keeps its random start.
        `scale` does not apply to the last two.
    tables : sequence of UserTable, optional
        Which of ``model.user_tables()`` to fill; all by default.

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
    initialize_ : One table of any torch module.
    freeze_ : Keeps the tables as they start.

    Examples
    --------
    >>> from sgurinit import SGURInit, hand_over
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> data = planted(200, 100)
    >>> start = SGURInit(random_state=0).fit(data).start_
    >>> [report.space for report in hand_over(VBPR(data), start)]
    ['free', 'projected', 'projected']
    """
    if projected not in get_args(Projected):
        known = ", ".join(get_args(Projected))
        raise InputError(f"projected is {projected!r}, expected one of {known}")
    tables = model.user_tables() if tables is None else tables
    if projected == "once":
        return fill(tables, start, scale, fill_items=fill_items, width=model.config.width)
    _refuse_unseen(tables, start)
    refuse_through(model, projected)
    width, keep = model.config.width, projected == "added"
    plans = [
        _plan_through(model, table, start, width, keep=keep)
        if table.space == "projected"
        else _plan(table, start, scale, fill_items, width)
        for table in tables
    ]
    return tuple(land() for land in plans)


def refuse_through(model: Recommender, projected: Projected) -> None:
    """Refuse a way of filling projected tables for a model that has none."""
    if projected != "once" and all(t.space != "projected" for t in model.user_tables()):
        raise InputError(
            f"projected={projected!r} has no effect: {_called(model)} has no user table in a "
            "projected space"
        )


def freeze_(model: Recommender) -> None:
    """Keep user tables, and the item tables that share a free space, as they start.

    MMRec and the library of the method's authors have MMGCN so: its tables stay outside the
    model's parameters. Call it after the tables are filled.

    Parameters
    ----------
    model : Recommender
        Any model.

    Raises
    ------
    InputError
        Nothing is left to train.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> model = VBPR(planted(200, 100))
    >>> freeze_(model)
    >>> sorted({name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad})
    ['content_biases', 'item_bias', 'projections']
    """
    refuse_freezing(model)
    for table in model.user_tables():
        if table.parameter.is_leaf:
            table.parameter.requires_grad_(False)
        if table.items is not None:
            table.items.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, parametrize.ParametrizationList) and any(
            isinstance(step, _ThroughProjection) for step in module
        ):
            cast(nn.Parameter, module.original).requires_grad_(False)


def refuse_freezing(model: Recommender) -> None:
    """Refuse to freeze a model that is nothing but user and item tables."""
    tables = model.user_tables()
    frozen = {id(p) for table in tables for p in (table.parameter, table.items)}
    if all(id(p) in frozen for p in model.parameters()):
        raise InputError(
            f"freeze leaves {_called(model)} nothing to train: it is all user and item tables"
        )


def untouched(tables: Sequence[UserTable]) -> tuple[TableReport, ...]:
    """Reports on tables that keep their random start."""
    reports = []
    for table in tables:
        norm = _mean_norm(table.parameter)
        side = table.item_vectors()
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


@torch.no_grad()
def bring_to_(table: Tensor, like: Tensor) -> None:
    """Bring a table to the mean row norm of another, in place."""
    table.mul_(_mean_norm(like) / _mean_norm(table))


def initialize_(
    parameter: nn.Parameter | nn.Embedding,
    start: UserStart,
    *,
    space: Space = "free",
    modality: str | None = None,
    item_vectors: Tensor | None = None,
    items: nn.Parameter | nn.Embedding | None = None,
    scale: Scale = TIMES,
) -> TableReport:
    """Fill one user table of any torch module, in place.

    Parameters
    ----------
    parameter : Parameter or Embedding, shape (n_users, width)
        The table or its embedding layer.
    start : UserStart
        A start for these users, in the table's row order.
    space : {"free", "raw", "projected"}, default "free"
        ``"free"``: a space of the model's own, filled from item features reduced to the table's
        width; ``"raw"``: the features of a `modality`; ``"projected"``: the space to which the
        model maps them.
    modality : str, optional
        Name of the modality of a raw or projected space.
    item_vectors : Tensor, shape (n_items, width), optional
        The items' vectors in a raw or projected space; in the latter at the module's initial
        weights, and needed.
    items : Parameter or Embedding, shape (n_items, width), optional
        The item table of a free space, to be filled from the same items. Left alone where None.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `hand_over`.

    Returns
    -------
    TableReport
        Norms before and after.

    Raises
    ------
    InputError
        Shapes, modality or scale do not fit together, or the start's `preprocess` has no effect on
        this table.

    See Also
    --------
    hand_over : All tables of a model of this library.
    sgurinit.integrations.torch.attach : All tables of any torch module.

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
    if space not in get_args(Space):
        raise InputError(f"space is {space!r}, expected one of {', '.join(get_args(Space))}")
    if items is not None and space != "free":
        raise InputError(f'items go with a free space (space="free"), not with space={space!r}')
    if item_vectors is not None and space == "free":
        raise InputError("item_vectors go with a raw or projected space; a free one takes items")
    table = UserTable(
        name="parameter",
        parameter=_weight(parameter),
        space=space,
        modality=modality,
        features=item_vectors,
        project=None,
        items=None if items is None else _weight(items),
    )
    return fill([table], start, scale, fill_items=items is not None)[0]


def fill(
    tables: Sequence[UserTable],
    start: UserStart,
    scale: Scale,
    *,
    fill_items: bool,
    width: int | None = None,
) -> tuple[TableReport, ...]:
    """Fill declared tables in place; projected ones once, at the projection's present weights.

    Parameters
    ----------
    tables : sequence of UserTable
        What to fill.
    start, scale, fill_items
        See `hand_over`.
    width : int, optional
        Width of the joint space whose collaborative columns are carried into raw and projected
        spaces, where the start has no ``joint_dim``; that of each table by default.

    Returns
    -------
    tuple of TableReport
        In the order of the tables.

    Raises
    ------
    InputError
        See `hand_over`.
    """
    _refuse_unseen(tables, start)
    plans = [_plan(table, start, scale, fill_items, width) for table in tables]
    return tuple(land() for land in plans)


def _refuse_unseen(tables: Sequence[UserTable], start: UserStart) -> None:
    refuse_unseen(tables, start.config["preprocess"], start.config["collaborative"])


def refuse_unseen(tables: Sequence[UserTable], steps: Sequence[str], collaborative: float) -> None:
    """Refuse preprocessing steps that would change no table."""
    seen = not collaborative and any(table.space == "raw" for table in tables)
    if steps and not seen:
        raise InputError(
            f"preprocess={tuple(steps)!r} has no effect here: only tables in a raw space see it, "
            "and only with collaborative=0. A free space has the joint space's own steps, a "
            "projected one the model's; fit with preprocess=()"
        )


def _plan(
    table: UserTable, start: UserStart, scale: Scale, fill_items: bool, width: int | None
) -> Callable[[], TableReport]:
    """Compute the rows of a table and return what lands them: nothing is changed before."""
    _check(table, start)
    times = _times(scale)
    before = _mean_norm(table.parameter)
    users, norm_items = _users_in(table, start, width)
    item_rows: FloatArray | None = None
    if table.items is not None:
        norm_items = _mean_norm(table.items)
        if fill_items:
            rows = start.joint(table.items.shape[1]).items
            item_rows = _completed(rows, table.items, times * norm_items)
            _check_shape(table.items, item_rows, table.name)
            norm_items = float(row_norms(item_rows).mean())
    norm_users = None if scale is None else norm_items if scale == "items" else times * before
    free = table.space == "free"
    user_rows = (
        _completed(users, table.parameter, norm_users) if free else _scaled(users, norm_users)
    )
    _check_shape(table.parameter, user_rows, table.name)

    def land() -> TableReport:
        if item_rows is not None and table.items is not None:
            _land(table.items, item_rows, table.name)
        _land(table.parameter, user_rows, table.name)
        return TableReport(
            table=table.name,
            space=table.space,
            modality=table.modality,
            norm_before=before,
            norm_after=_mean_norm(table.parameter),
            norm_start=float(row_norms(users).mean()),
            norm_items=norm_items,
            items_filled=item_rows is not None,
            columns_filled=int(users.any(axis=0).sum()),
            projected="once" if table.space == "projected" else None,
        )

    return land


def _times(scale: Scale) -> float:
    """How many times its own mean norm a table is brought to, where it is so."""
    if scale in {"table", "items", None}:
        return 1.0
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < inf:
        raise InputError(f"scale is {scale!r}, expected 'table', 'items', None or a number above 0")
    return float(scale)


def _scaled(rows: FloatArray, norm: float | None) -> FloatArray:
    return rows if norm is None else match_scale(rows, norm)


def _completed(rows: FloatArray, table: Tensor, norm: float | None) -> FloatArray:
    """Rows at a mean norm, with the table's own random values in columns that they leave at zero.

    Columns that were zero for users and items alike would have no gradient and stay zero for ever.
    The random values keep their size, so that they do not drown the start, or have their share of
    the norm where that is less.
    """
    reached = rows.any(axis=0)
    n_spare = int((~reached).sum())
    if n_spare in {0, rows.shape[1]}:
        return _scaled(rows, norm)
    whole = table.full_tensor() if isinstance(table, DTensor) else table
    own = whole.detach().float().cpu().numpy()[:, ~reached]
    spare = float(row_norms(own).mean())
    if norm is None:
        started = float(row_norms(rows).mean())
        share = started * (n_spare / (rows.shape[1] - n_spare)) ** 0.5
    else:
        share = norm * (n_spare / rows.shape[1]) ** 0.5
    spare_norm = min(spare, share)
    filled = np.array(
        rows if norm is None else match_scale(rows, (norm**2 - spare_norm**2) ** 0.5),
        dtype=np.float32,
    )
    filled[:, ~reached] = own * np.float32(spare_norm / spare if spare else 0.0)
    return _scaled(filled, norm)


def _users_in(table: UserTable, start: UserStart, width: int | None) -> tuple[FloatArray, float]:
    """Start's users in the table's space, and the mean row norm of the items there."""
    if table.space == "free":
        joint = start.joint(table.parameter.shape[1])
        return joint.users, float(row_norms(joint.items).mean())
    present = _present(table, start)
    if table.space == "raw" and table.features is None and not start.config["collaborative"]:
        facts = start.diagnostics.modalities[cast(str, table.modality)]
        return start.users[cast(str, table.modality)], facts.item_mean_norm
    rows = _item_rows(table, start, projected=True)
    norm = float(row_norms(rows[present]).mean())
    if start.config["collaborative"]:
        return start.carry_to(np.where(present[:, None], rows, 0), width=width), norm
    if table.space == "raw":
        return start.users[cast(str, table.modality)], norm
    return start.on(rows, present=present), norm


def _present(table: UserTable, start: UserStart) -> BoolArray:
    """Which items have a row in the table's modality, ``(n_items,)``."""
    if table.modality is None or table.modality not in start.users:
        raise InputError(
            f"table {table.name!r} is in the space of modality {table.modality!r}, which the start "
            f"does not have; it has {', '.join(start.users)}"
        )
    return start.clusters[table.modality].labels >= 0


def _item_rows(table: UserTable, start: UserStart, *, projected: bool) -> FloatArray:
    """Items' rows in the table's space, or the features before its projection."""
    if table.features is None:
        if table.space == "projected":
            raise InputError(
                f"table {table.name!r} is in a projected space, expected the items' vectors in it; "
                "pass item_vectors"
            )
        return start.features(cast(str, table.modality))
    with torch.no_grad():
        rows = table.item_vectors() if projected else table.features
    return cast(Tensor, rows).detach().float().cpu().numpy()


class _ThroughProjection(nn.Module):
    """Users at the width of the features, through the model's own projection in every step.

    Parameters
    ----------
    users
        ``U^m``, ``(n_users, d_m)``.
    project
        The model's projection, of rows.
    keep
        Whether the table is kept, and this is added to it.
    """

    users: Tensor

    def __init__(self, users: Tensor, project: Callable[[Tensor], Tensor], *, keep: bool) -> None:
        super().__init__()
        # Not as a module: the projection's weights belong to the model alone.
        self._project = (project,)
        self.keep = keep
        self.register_buffer("users", users)

    def forward(self, table: Tensor) -> Tensor:
        projected = self._project[0](self.users)
        return table + projected if self.keep else projected


def _plan_through(
    model: nn.Module, table: UserTable, start: UserStart, width: int, *, keep: bool
) -> Callable[[], TableReport]:
    """Compute the users of a projection and return what puts them behind it."""
    _check(table, start)
    if table.project is None:
        raise InputError(
            f"table {table.name!r} declares no projection, which projected='through' and 'added' "
            "need; fill it once"
        )
    present = _present(table, start)
    rows = _item_rows(table, start, projected=False)
    if start.config["collaborative"]:
        # Carried users match scores, at a norm of their own: they get that of the items, with
        # which they pass through the projection. Much shorter ones would all become its bias.
        carried = start.carry_to(np.where(present[:, None], rows, 0), width=width)
        users = match_scale(carried, float(row_norms(rows[present]).mean()))
    else:
        users = start.on(rows, present=present)
    path, _, name = table.name.rpartition(".")
    owner = model.get_submodule(path)
    before = _mean_norm(table.parameter)
    step = _ThroughProjection(torch.from_numpy(users).to(table.parameter), table.project, keep=keep)

    def land() -> TableReport:
        if not keep:  # Nothing of the table is used, so it neither trains nor is saved.
            table.parameter.requires_grad_(False)
            table.parameter.data = table.parameter.data.new_zeros(())
        parametrize.register_parametrization(owner, name, step, unsafe=True)
        return TableReport(
            table=table.name,
            space=table.space,
            modality=table.modality,
            norm_before=before,
            norm_after=_mean_norm(getattr(owner, name)),
            norm_start=float(row_norms(users).mean()),
            norm_items=_mean_norm(cast(Tensor, table.item_vectors())),
            columns_filled=int(users.any(axis=0).sum()),
            projected="added" if keep else "through",
        )

    return land


def _check(table: UserTable, start: UserStart) -> None:
    if table.parameter.is_meta:
        raise InputError(
            f"table {table.name!r} is on the meta device, which holds no values: materialise the "
            "model (to_empty, then its own reset) and hand the start over after"
        )
    if not table.parameter.is_leaf:
        raise InputError(
            f"table {table.name!r} was handed over already: its users pass through the model's "
            "projection; build the model anew"
        )
    rows = table.parameter.shape[0]
    if rows != start.n_users:
        raise InputError(
            f"table {table.name!r} has {rows} rows, the start has {start.n_users} users; "
            "fit the start on the interactions that the model was built for"
        )


def _check_shape(parameter: nn.Parameter, values: FloatArray, name: str) -> None:
    if tuple(parameter.shape) != values.shape:
        raise InputError(
            f"table {name!r} has shape {tuple(parameter.shape)}, the start's vectors have "
            f"{values.shape}; they must be equal"
        )


@torch.no_grad()
def _land(parameter: nn.Parameter, values: FloatArray, name: str) -> None:
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


def _called(model: nn.Module) -> str:
    """Name of the model's class, whatever a parametrization has made of it."""
    return type_before_parametrizations(model).__name__


def _weight(table: nn.Parameter | nn.Embedding) -> nn.Parameter:
    return cast(nn.Parameter, table.weight) if isinstance(table, nn.Embedding) else table


def _mean_norm(table: Tensor) -> float:
    norm = table.detach().norm(dim=1).mean()
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def match_scale(rows: FloatArray, target_mean_norm: float) -> Float32Array:
    """Rescale a table so that its mean row norm is `target_mean_norm`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Any table; an all-zero one stays zero.
    target_mean_norm : float, >= 0
        Mean Euclidean row norm of the result.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Raises
    ------
    InputError
        When the target is negative or not finite.
    """
    if not np.isfinite(target_mean_norm) or target_mean_norm < 0:
        raise InputError(f"target_mean_norm must be finite and >= 0, got {target_mean_norm!r}")
    mean = float(row_norms(rows).mean()) if len(rows) else 0.0
    factor = target_mean_norm / mean if mean > 0 else 1.0
    scaled: Float32Array = (rows.astype(np.float64) * factor).astype(np.float32)
    return scaled
