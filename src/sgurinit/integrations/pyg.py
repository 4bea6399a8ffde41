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
    embedding
        The nodes' layer, as ``LightGCN(...).embedding``, ``(n_users + n_items, width)``.
    start
        A start for these users.
    scale, fill_items
        See `sgurinit.hand_over`.

    Returns
    -------
    TableReport

    Raises
    ------
    InputError
        The table has another number of nodes.
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
