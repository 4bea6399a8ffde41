"""A Lightning callback: the start at fit start, then norms and the gap of every epoch."""

from __future__ import annotations

from collections.abc import Mapping

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sgurinit.core import UserStart
from sgurinit.handover import TIMES, Scale
from sgurinit.integrations._callback import Followed


class StartCallback(Followed, Callback):
    """Starts a module's user tables when its fit starts, and logs what becomes of them.

    A fit that resumes from a checkpoint, or a second one, keeps its weights. Logged at the end of
    each epoch, per table: ``user_norm``, ``item_norm``, ``moved`` (mean cosine of the rows with
    their start), and ``alignment`` and ``centroid_distance`` of the semantic gap, where the table
    shares its space with an item table and the start knows its interactions.

    Parameters
    ----------
    start : UserStart
        The start. A loaded one does not know the interactions, so the semantic gap is left out.
    tables, scale, fill_items
        See `sgurinit.integrations.torch.attach`.

    Attributes
    ----------
    reports : tuple of TableReport
        What the start did; empty before, and where a fit resumed from a checkpoint.
    history : list of dict
        One mapping of names to values per epoch, the first of the start itself.
    """

    def __init__(
        self,
        start: UserStart,
        *,
        tables: Mapping[str, str | None] | None = None,
        scale: Scale = TIMES,
        fill_items: bool = True,
    ) -> None:
        super().__init__(start, tables=tables, scale=scale, fill_items=fill_items)

    @override
    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        resumed = trainer.ckpt_path is not None
        self.begin(pl_module, resumed=resumed, processes=trainer.world_size)

    @override
    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        pl_module.log_dict(self.look())
