"""What training callbacks share: a model's tables are started once and followed from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from sgurinit.core import UserStart
from sgurinit.core.semantic_gap import gap
from sgurinit.handover import Scale, TableReport
from sgurinit.integrations.torch import attach, find_tables, same_everywhere
from sgurinit.models.base import UserTable


class Followed:
    """A start, and what becomes of the tables that it was given to.

    Parameters
    ----------
    start : UserStart
        The start. A loaded one does not know the interactions, so the semantic gap is left out.
    tables, scale, fill_items
        See `sgurinit.integrations.torch.attach`.

    Attributes
    ----------
    reports : tuple of TableReport
        What the start did; empty before, and where training resumed from a checkpoint.
    history : list of dict
        One mapping of names to values per epoch, the first of the start itself.
    """

    def __init__(
        self,
        start: UserStart,
        *,
        tables: Mapping[str, str | None] | None,
        scale: Scale,
        fill_items: bool,
    ) -> None:
        self.start = start
        self.settings: dict[str, Any] = {"tables": tables, "scale": scale, "fill_items": fill_items}
        self.reports: tuple[TableReport, ...] = ()
        self.history: list[dict[str, float]] = []
        self._tables: list[UserTable] = []
        self._first: dict[str, Tensor] = {}

    def begin(self, model: nn.Module, *, resumed: bool, processes: int) -> None:
        """Fill the tables, unless training resumes or began here before, and look at them."""
        self._tables = find_tables(model, self.start, self.settings["tables"])
        if not resumed and not self.reports:
            self.reports = attach(model, self.start, **self.settings)
            if processes > 1:
                same_everywhere(self._tables)
        self._first = {t.name: _full(t.parameter).clone() for t in self._tables}
        self.look()

    def look(self) -> dict[str, float]:
        """Norms and gap of the tables as they are now; kept in `history`."""
        row: dict[str, float] = {}
        for table in self._tables:
            users = _full(table.parameter)
            row[f"start/{table.name}/user_norm"] = float(users.norm(dim=1).mean())
            cosines = torch.nn.functional.cosine_similarity(users, self._first[table.name])
            row[f"start/{table.name}/moved"] = float(cosines.mean())
            if table.items is not None:
                row |= self._gap(table.name, users, _full(table.items))
        self.history.append(row)
        return row

    def _gap(self, name: str, users: Tensor, items: Tensor) -> dict[str, float]:
        row = {f"start/{name}/item_norm": float(items.norm(dim=1).mean())}
        if self.start.source is not None:
            matrix = self.start.source.interactions.matrix
            found = gap(matrix, np.asarray(items), np.asarray(users), seed=0)
            row[f"start/{name}/alignment"] = found.alignment
            row[f"start/{name}/centroid_distance"] = found.centroid_distance
        return row


def _full(table: Tensor) -> Tensor:
    whole = table.detach()
    return (whole.full_tensor() if isinstance(whole, DTensor) else whole).float().cpu()
