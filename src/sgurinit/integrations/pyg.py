"""PyTorch Geometric: models whose one table holds users and items as nodes."""

from __future__ import annotations

from typing import cast

from torch import nn

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.handover import TIMES, Scale, TableReport, fill
from sgurinit.models.base import UserTable


def initialize_nodes_(
    embedding: nn.Embedding,
    start: UserStart,
    *,
    scale: Scale = TIMES,
    fill_items: bool = True,
) -> TableReport:
    """Fill a table of nodes, users first and items behind them, in place.

    Parameters
    ----------
    embedding : Embedding of shape (n_users + n_items, width)
        The nodes' layer, as ``LightGCN(...).embedding``.
    start : UserStart
        A start for these users.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `sgurinit.hand_over`.
    fill_items : bool, default True
        See `sgurinit.hand_over`.

    Returns
    -------
    TableReport

    Raises
    ------
    InputError
        The table has another number of nodes, or the start's `preprocess` has no effect on it.
    """
    nodes = embedding.weight.shape[0]
    if nodes != start.n_users + start.n_items:
        raise InputError(
            f"the table has {nodes} nodes, expected {start.n_users} users and {start.n_items} items"
        )
    weight = embedding.weight.detach()
    users = cast(nn.Parameter, weight[: start.n_users])  # views: what they get, the table gets
    others = cast(nn.Parameter, weight[start.n_users :])
    table = UserTable("nodes", users, "free", items=others)
    return fill([table], start, scale, fill_items=fill_items)[0]
