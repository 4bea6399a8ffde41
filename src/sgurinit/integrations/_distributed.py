"""Tables that several processes hold."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from sgurinit.handover.distributed import is_distributed
from sgurinit.models.base import UserTable


def broadcast_tables_(tables: Iterable[UserTable]) -> None:
    """Copy the first process's rows to all processes, for tables that each of them holds in full.

    All processes have to call it.
    """
    for table in tables:
        for parameter in (table.parameter, table.items):
            if parameter is not None and not is_distributed(parameter):
                torch.distributed.broadcast(parameter.data, src=0)
