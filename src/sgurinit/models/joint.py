"""Tables of users and items that are drawn as one, as MMGCN and GRCN do."""

from __future__ import annotations

import torch
from torch import nn


def joint_tables(n_users: int, n_items: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Tables of users and of items, Xavier normal, at the scale of one table of them all.

    Xavier's scale falls with the number of rows, so two tables drawn apart would start larger.
    """
    joint = nn.init.xavier_normal_(torch.empty(n_users + n_items, width))
    users, items = joint.split([n_users, n_items])
    return nn.Parameter(users.clone()), nn.Parameter(items.clone())
