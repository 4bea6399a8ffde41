"""Any torch module: its user tables are found by their shape and filled in place.

Tables are filled in place, so an optimizer that already holds the parameters, a compiled module and
a distributed wrapper all see the start. Call `attach` after construction and before the optimizer's
first step.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.handover import DEFAULT_SCALE, Scale, TableReport, fill_tables_
from sgurinit.handover.checks import PADDING_ADVICE, check_start
from sgurinit.integrations._distributed import broadcast_tables_
from sgurinit.models.base import UserTable

logger = logging.getLogger(__name__)

# Numbers of float32 tables stay below it; its square is finite in float64.
_LARGEST_NORM = 1e38

# What wrappers put before the names of a module's parameters.
_WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")


def attach(
    model: nn.Module,
    start: UserStart,
    *,
    tables: Mapping[str, str | None] | None = None,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> tuple[TableReport, ...]:
    """Fill the user tables of any torch module.

    Parameters
    ----------
    model : Module
        A freshly built module, plain or wrapped by ``torch.compile``, `DistributedDataParallel` or
        ``fully_shard``. A `DistributedDataParallel` module ends with the same values in every
        process.
    start : UserStart
        A start for the users of the module, in the order of the tables' rows. A loaded start only
        fills tables of the width it was saved with, its ``joint_dim``.
    tables : mapping of str to str or None, optional
        Names of user tables, each with the name of the item table that shares its space, or None.
        A name is that of a parameter or of its embedding layer: ``"users.weight"`` or ``"users"``.
        By default they are found by shape, see `find_tables`.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Returns
    -------
    tuple of TableReport
        What was found and done, one report per user table. The reports are logged too.

    Raises
    ------
    InputError
        No table fits, a user table has no item table of its width, it is ambiguous which tables are
        meant (the message lists them), a name does not exist, or the start's `preprocess` has no
        effect because all tables are in free spaces.

    See Also
    --------
    sgurinit.initialize_ : Fills one table, in any space.
    find_tables : Finds the tables without filling them.

    Examples
    --------
    >>> from torch import nn
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> data = planted(200, 100)
    >>> start = SGURInit(random_state=0).fit(data).start_
    >>> model = nn.ModuleDict({"user": nn.Embedding(200, 16), "item": nn.Embedding(100, 16)})
    >>> [(report.table, report.items_filled) for report in attach(model, start)]
    [('user.weight', True)]
    """
    found = find_tables(model, start, tables)
    reports = fill_tables_(found, start, scale, fill_items=fill_items)
    if isinstance(model, DistributedDataParallel):
        broadcast_tables_(found)
    for report in reports:
        logger.info(
            "filled %s (norm %.3g, before %.3g); its item table was %s",
            report.table,
            report.norm_after,
            report.norm_before,
            "filled too" if report.items_filled else "not filled",
        )
    return reports


def find_tables(
    model: nn.Module, start: UserStart, tables: Mapping[str, str | None] | None = None
) -> list[UserTable]:
    """Find the user tables of a module by their shape.

    A user table is a parameter with one row per user and more than one column (one column is a
    bias). Its item table is the trained parameter with one row per item and as many columns. A user
    table without one is refused: it is likely to be matched with projected features.

    Parameters
    ----------
    model : Module
        A module, plain or wrapped by ``torch.compile``, `DistributedDataParallel` or
        ``fully_shard``.
    start : UserStart
        A start for the users of the module.
    tables : mapping of str to str or None, optional
        Names of user tables, each with the name of the item table that shares its space, or None.
        Given names are only looked up: those of parameters or of embedding layers.

    Returns
    -------
    list of UserTable
        The tables, all in free spaces.

    Raises
    ------
    InputError
        No table fits, a user table has no item table of its width, it is ambiguous which tables are
        meant (the message lists them), or a name does not exist.

    See Also
    --------
    attach : Finds the tables and fills them.

    Examples
    --------
    >>> from torch import nn
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> model = nn.ModuleDict({"user": nn.Embedding(200, 16), "item": nn.Embedding(100, 16)})
    >>> [(table.name, table.space) for table in find_tables(model, start)]
    [('user.weight', 'free')]
    """
    check_start(start)
    if not isinstance(model, nn.Module):
        raise InputError(f"model is of type {type(model).__name__}, expected a torch Module")
    if tables is not None and not isinstance(tables, Mapping):
        raise InputError(f"tables is of type {type(tables).__name__}, expected a mapping; {_HOW}")
    named = {
        _bare(name): parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and parameter.shape[1] > 1 and parameter.is_floating_point()
    }
    users = {name: p for name, p in named.items() if p.shape[0] == start.n_users}
    pairs = dict(tables) if tables is not None else _pairs(named, users, start)
    found = []
    for user, item in pairs.items():
        name = _full_name(user, named)
        items = None if item is None else named[_full_name(item, named)]
        found.append(UserTable(name, named[name], "free", items=items))
    return found


def _full_name(name: str, named: Mapping[str, nn.Parameter]) -> str:
    """Return the name of a parameter that is given by its own name or by that of its layer."""
    for full in (name, f"{name}.weight"):
        if full in named:
            return full
    raise InputError(f"the model has no table {name!r}; it has {_list(named)}")


def _pairs(
    named: Mapping[str, nn.Parameter], users: Mapping[str, nn.Parameter], start: UserStart
) -> dict[str, str | None]:
    if not users:
        raise InputError(
            f"no table has {start.n_users} rows, one per user of the start; the model has "
            f"{_list(named)}{_row_advice(named, start)}"
        )
    items = {
        name: p for name, p in named.items() if p.shape[0] == start.n_items and p.requires_grad
    }
    if start.n_users == start.n_items and len(users) > 1:
        raise InputError(
            f"there are as many users as items ({start.n_users}), so shapes cannot tell their "
            f"tables apart: {_list(users)}; {_HOW}"
        )
    if start.n_users == start.n_items:
        items = {}
    pairs: dict[str, str | None] = {}
    for name, table in users.items():
        rivals = [other for other, p in users.items() if p.shape[1] == table.shape[1]]
        partners = [other for other, p in items.items() if p.shape[1] == table.shape[1]]
        if len(partners) > 1 or (partners and len(rivals) > 1):
            raise InputError(
                f"it is ambiguous which user table goes with which item table: users "
                f"{_list({r: users[r] for r in rivals})}, items "
                f"{_list({p: items[p] for p in partners})}; {_HOW}"
            )
        if not partners:
            padded = any(p.shape == (start.n_items + 1, table.shape[1]) for p in named.values())
            raise InputError(
                f"user table {name} {tuple(table.shape)} has no item table of its width among "
                f"{_list(items)}; {PADDING_ADVICE if padded else _PROJECTED}. If it is in a "
                f"free space all the same, name it: tables={{{name!r}: None}}"
            )
        pairs[name] = partners[0]
    return pairs


def _row_advice(named: Mapping[str, nn.Parameter], start: UserStart) -> str:
    """Return what to do with tables that have users among other rows."""
    for name, table in named.items():
        if table.shape[0] == start.n_users + 1:
            return f"; {PADDING_ADVICE}"
        if table.shape[0] == start.n_users + start.n_items:
            return (
                f"; {name} seems to hold users and items: fill its layer with "
                "sgurinit.integrations.pyg.initialize_nodes_(layer, start)"
            )
    return ""


_PROJECTED = (
    "leave out of tables= a user table that is matched with projected features, and fill it with "
    "sgurinit.initialize_(table, start, space='projected', modality=..., item_vectors=...)"
)
_HOW = f"say which with tables={{'user table': 'item table or None'}}; {_PROJECTED}"


@torch.no_grad()
def initialize_shard_(
    shard: Tensor, start: UserStart, first: int, *, norm: float | None = None
) -> None:
    """Fill one process's rows of a user table that is distributed over several, in place.

    Use it for tables whose shards are plain tensors, such as TorchRec's row-wise ones. `attach`
    fills tables that ``fully_shard`` distributes. Columns beyond the directions that the features
    span keep the shard's own random values, as with `attach`.

    Parameters
    ----------
    shard : Tensor, shape (rows, width)
        Rows ``first`` to ``first + rows`` of a table in a free space.
    start : UserStart
        A start for the users of the whole table.
    first : int
        Position of the shard's first row in the whole table.
    norm : float > 0, optional
        Mean row norm of the whole table after scaling. By default four times that of the shard's
        own rows. Give a norm where shards must agree exactly. The shard then needs no values
        before the call, if the start fills all of its columns.

    Raises
    ------
    InputError
        The rows do not lie in the table, the shard is on the meta device, `norm` is not above 0, or
        the start's `preprocess` has no effect because the table is in a free space.

    See Also
    --------
    attach : Fills whole tables.

    Examples
    --------
    >>> import torch
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.torch import initialize_shard_
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> shards = [torch.empty(100, 16), torch.empty(100, 16)]
    >>> for first, shard in zip((0, 100), shards):
    ...     initialize_shard_(shard, start, first, norm=1.0)
    >>> round(float(torch.cat(shards).norm(dim=1).mean()), 3)
    1.0
    """
    check_start(start)
    if not isinstance(shard, Tensor) or shard.layout is not torch.strided or shard.ndim != 2:
        raise InputError(f"shard is of type {type(shard).__name__}, expected a dense 2-d tensor")
    if not shard.is_floating_point():
        raise InputError(f"shard holds {shard.dtype}, expected floating-point numbers")
    if shard.is_meta:
        raise InputError(
            "the shard is on the meta device, which holds no values: create it with torch.empty on "
            "its own device first"
        )
    if start.config["preprocess"]:
        raise InputError(
            f"preprocess={tuple(start.config['preprocess'])!r} has no effect here: a free space "
            "has the joint space's own steps; fit with preprocess=()"
        )
    if isinstance(first, bool) or not isinstance(first, int | np.integer):
        raise InputError(f"first is {first!r}, expected an integer")
    if not 0 <= first <= first + len(shard) <= start.n_users:
        raise InputError(
            f"first is {first} and the shard has {len(shard)} rows, but the start has "
            f"{start.n_users} users"
        )
    if norm is None:
        norm = DEFAULT_SCALE * float(shard.norm(dim=1).mean())
    if isinstance(norm, bool) or not isinstance(norm, int | float) or not 0 < norm < _LARGEST_NORM:
        raise InputError(f"norm is {norm}, expected a number above 0")
    users = start.joint(shard.shape[1]).users
    spare = torch.from_numpy(~users.any(axis=0)).to(shard.device)
    own = shard[:, spare]
    own_norm = float(own.norm(dim=1).mean())
    kept = min(own_norm, norm * (own.shape[1] / shard.shape[1]) ** 0.5)
    times = (norm**2 - kept**2) ** 0.5 / float(np.linalg.norm(users, axis=1).mean())
    shard.copy_(torch.from_numpy(users[first : first + len(shard)] * np.float32(times)))
    shard[:, spare] = own * (kept / own_norm if own_norm else 0.0)


def _bare(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "", 1) if name.startswith(wrapper) else name
    return name


def _list(tables: Mapping[str, nn.Parameter]) -> str:
    return ", ".join(f"{n} {tuple(p.shape)}" for n, p in tables.items()) or "none"
