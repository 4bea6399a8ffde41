"""Users who pass through the model's own projection in every step, as items do."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sgurinit.core import UserStart
from sgurinit.core.inputs.features import row_norms
from sgurinit.errors import InputError
from sgurinit.handover.checks import check_table, label
from sgurinit.handover.reports import TableReport
from sgurinit.handover.scaling import match_scale, mean_norm
from sgurinit.handover.vectors import (
    is_collaborative,
    item_rows,
    items_with_features,
    users_among,
)
from sgurinit.models.base import UserTable


class ThroughProjection(nn.Module):
    """Parametrization that maps users at the width of the features by the model's projection.

    Parameters
    ----------
    users : Tensor, shape (n_users, d_m)
        Users ``U^m`` at the width of the features.
    project : callable
        The model's projection of rows.
    keep : bool
        Whether the projected users are added to the table. Otherwise they replace it.
    """

    users: Tensor

    def __init__(self, users: Tensor, project: Callable[[Tensor], Tensor], *, keep: bool) -> None:
        super().__init__()
        # In a tuple, so that the projection is not registered as a submodule: its weights belong
        # to the model.
        self._project = (project,)
        self.keep = keep
        self.register_buffer("users", users)

    def forward(self, table: Tensor) -> Tensor:
        """Return the projected users, with the table added where it is kept."""
        projected = self._project[0](self.users)
        return table + projected if self.keep else projected


def prepare_projection(
    model: nn.Module, table: UserTable, start: UserStart, width: int, *, keep: bool
) -> Callable[[], TableReport]:
    """Compute the users of a projection; return a function that puts them behind it."""
    check_table(table, start)
    if table.project is None:
        raise InputError(
            f"{label(table.name)} declares no projection, which projected='through' and 'added' "
            "need; use projected='once'"
        )
    present = items_with_features(table, start)
    features = item_rows(table, start, projected=False)
    users = users_among(features, present, start, width)
    if is_collaborative(start):
        # Carried users reproduce scores, at any norm. They get the norm of the items, with which
        # they pass through the projection: much shorter users would all become its bias.
        users = match_scale(users, float(row_norms(features[present]).mean()))
    path, _, name = table.name.rpartition(".")
    owner = model.get_submodule(path)
    before = mean_norm(table.parameter)
    step = ThroughProjection(torch.from_numpy(users).to(table.parameter), table.project, keep=keep)

    def register() -> TableReport:
        if not keep:  # The table has no effect any more, so it is neither trained nor saved.
            table.parameter.requires_grad_(False)
            table.parameter.data = table.parameter.data.new_zeros(())
        parametrize.register_parametrization(owner, name, step, unsafe=True)
        return TableReport(
            table=table.name,
            space=table.space,
            modality=table.modality,
            norm_before=before,
            norm_after=mean_norm(getattr(owner, name)),
            norm_start=float(row_norms(users).mean()),
            norm_items=mean_norm(cast(Tensor, table.item_vectors())),
            columns_filled=int(users.any(axis=0).sum()),
            projected="added" if keep else "through",
        )

    return register
