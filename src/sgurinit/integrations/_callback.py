"""Common base of the training callbacks: fill the tables once, then record how they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sgurinit.core import FittedStart, UserStart
from sgurinit.core.semantic_gap import compute_gap
from sgurinit.handover import DEFAULT_SCALE, Scale, TableReport
from sgurinit.handover.distributed import gather
from sgurinit.integrations._distributed import broadcast_tables_
from sgurinit.integrations.torch import attach, find_tables
from sgurinit.models.base import UserTable


class StartTracker:
    """Fills a module's user tables when training begins and records how they change.

    The parameters and attributes are those of the callbacks, see
    `sgurinit.integrations.lightning.StartCallback`.
    """

    def __init__(
        self,
        start: UserStart,
        *,
        tables: Mapping[str, str | None] | None = None,
        scale: Scale = DEFAULT_SCALE,
        fill_items: bool = True,
    ) -> None:
        self.start = start
        self.settings: dict[str, Any] = {"tables": tables, "scale": scale, "fill_items": fill_items}
        self.reports: tuple[TableReport, ...] = ()
        self.history: list[dict[str, float]] = []
        self._tables: list[UserTable] = []
        self._first: dict[str, Tensor] = {}

    def begin(self, model: nn.Module, *, resumed: bool, processes: int) -> None:
        """Fill the tables, unless training resumes or the callback filled them, and record them."""
        self._tables = find_tables(model, self.start, self.settings["tables"])
        if not resumed and not self.reports:
            self.reports = attach(model, self.start, **self.settings)
            if processes > 1:
                broadcast_tables_(self._tables)
        self._first = {t.name: _whole_table(t.parameter).clone() for t in self._tables}
        self.record()

    def record(self) -> dict[str, float]:
        """Append the present norms and semantic gap of the tables to `history`; return them."""
        row: dict[str, float] = {}
        for table in self._tables:
            users = _whole_table(table.parameter)
            row[f"start/{table.name}/user_norm"] = float(users.norm(dim=1).mean())
            cosines = torch.nn.functional.cosine_similarity(users, self._first[table.name])
            row[f"start/{table.name}/moved"] = float(cosines.mean())
            if table.items is not None:
                row |= self._gap(table.name, users, _whole_table(table.items))
        self.history.append(row)
        return row

    def _gap(self, name: str, users: Tensor, items: Tensor) -> dict[str, float]:
        row = {f"start/{name}/item_norm": float(items.norm(dim=1).mean())}
        if isinstance(self.start, FittedStart):
            matrix = self.start.fit.interactions.matrix
            found = compute_gap(matrix, np.asarray(items), np.asarray(users), seed=0)
            row[f"start/{name}/alignment"] = found.alignment
            row[f"start/{name}/centroid_distance"] = found.centroid_distance
        return row


def _whole_table(table: Tensor) -> Tensor:
    whole = table.detach()
    return gather(whole).float().cpu()
