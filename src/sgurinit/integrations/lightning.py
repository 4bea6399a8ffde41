"""A Lightning callback: the start at fit start, then norms and the gap of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.distributed.tensor import DTensor
from typing_extensions import override

from sgurinit.core import UserStart
from sgurinit.core.gap import gap
from sgurinit.handover import TIMES, Items, Scale, TableReport
from sgurinit.integrations.modules import attach, find_tables, same_everywhere
from sgurinit.models.base import UserTable


class StartCallback(Callback):
    """Starts a module's user tables when its fit starts, and logs what becomes of them.

    A fit that goes on from a checkpoint, or a second one, keeps its weights. Logged at the end of
    each epoch, per table: ``user_norm``, ``item_norm``, ``moved`` (mean cosine of the rows with
    their start), and ``alignment`` and ``centroid_distance`` of the semantic gap, where the table
    shares its space with an item table and the start knows its interactions.

    Parameters
    ----------
    start, tables, scale, items
        See `sgurinit.integrations.modules.attach`.

    Attributes
    ----------
    reports
        What the start did; empty before, and where a fit went on from a checkpoint.
    history
        One mapping of names to values per epoch, the first of the start itself.
    """

    def __init__(
        self,
        start: UserStart,
        *,
        tables: Mapping[str, str | None] | None = None,
        scale: Scale = TIMES,
        items: Items = "features",
    ) -> None:
        self.start = start
        self.settings: dict[str, Any] = {"tables": tables, "scale": scale, "items": items}
        self.reports: tuple[TableReport, ...] = ()
        self.history: list[dict[str, float]] = []
        self._tables: list[UserTable] = []
        self._first: dict[str, torch.Tensor] = {}

    @override
    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self._tables = find_tables(pl_module, self.start, self.settings["tables"])
        if trainer.ckpt_path is None and not self.reports:
            self.reports = attach(pl_module, self.start, **self.settings)
            if trainer.world_size > 1:
                same_everywhere(self._tables)
        self._first = {t.name: _full(t.parameter).clone() for t in self._tables}
        self.history.append(self.measure())

    @override
    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.history.append(self.measure())
        pl_module.log_dict(self.history[-1])

    def measure(self) -> dict[str, float]:
        """Norms and gap of the tables as they are now."""
        row: dict[str, float] = {}
        for table in self._tables:
            users = _full(table.parameter)
            first = self._first[table.name]
            row[f"start/{table.name}/user_norm"] = float(users.norm(dim=1).mean())
            cosines = torch.nn.functional.cosine_similarity(users, first)
            row[f"start/{table.name}/moved"] = float(cosines.mean())
            if table.items is not None:
                row |= self._gap(table.name, users, _full(table.items))
        return row

    def _gap(self, name: str, users: torch.Tensor, items: torch.Tensor) -> dict[str, float]:
        row = {f"start/{name}/item_norm": float(items.norm(dim=1).mean())}
        if self.start.source is not None:
            matrix = self.start.source.interactions.matrix
            found = gap(matrix, np.asarray(items), np.asarray(users), seed=0)
            row[f"start/{name}/alignment"] = found.alignment
            row[f"start/{name}/centroid_distance"] = found.centroid_distance
        return row


def _full(table: torch.Tensor) -> torch.Tensor:
    whole = table.detach()
    return (whole.full_tensor() if isinstance(whole, DTensor) else whole).float().cpu()
