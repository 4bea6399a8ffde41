"""PyTorch Geometric: models with one table of nodes for users and items."""

from __future__ import annotations

from typing import cast

from torch import nn

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.handover import DEFAULT_SCALE, Scale, TableReport, fill_tables_
from sgurinit.models.base import UserTable


def initialize_nodes_(
    embedding: nn.Embedding,
    start: UserStart,
    *,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> TableReport:
    """Fill a table of nodes, first the users and then the items, in place.

    Parameters
    ----------
    embedding : Embedding, shape (n_users + n_items, width)
        The nodes' layer, such as ``LightGCN(...).embedding``.
    start : UserStart
        A start for these users.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the items' rows.

    Returns
    -------
    TableReport
        What was done.

    Raises
    ------
    InputError
        The table has another number of nodes, or the start's `preprocess` has no effect on it.

    See Also
    --------
    sgurinit.initialize_ : For separate tables of users and items.

    Examples
    --------
    >>> from torch import nn
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.pyg import initialize_nodes_
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> initialize_nodes_(nn.Embedding(300, 16), start).items_filled
    True
    """
    nodes = embedding.weight.shape[0]
    if nodes != start.n_users + start.n_items:
        raise InputError(
            f"the table has {nodes} nodes, expected {start.n_users} users and {start.n_items} items"
        )
    weight = embedding.weight.detach()
    users = cast(nn.Parameter, weight[: start.n_users])  # views: writing to them fills the table
    items = cast(nn.Parameter, weight[start.n_users :])
    table = UserTable("nodes", users, "free", items=items)
    return fill_tables_([table], start, scale, fill_items=fill_items)[0]
