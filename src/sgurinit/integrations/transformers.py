"""A callback for the Trainer of Hugging Face: the start at train begin, then norms and the gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback
from typing_extensions import override

from sgurinit.core import UserStart
from sgurinit.handover import TIMES, Scale
from sgurinit.integrations._callback import Followed


class StartCallback(Followed, TrainerCallback):
    """Starts a model's user tables when its training begins, and logs what becomes of them.

    Training that resumes from a checkpoint, or a second one, keeps its weights. What the Lightning
    callback logs at the end of each epoch becomes an entry of the trainer's
    ``state.log_history`` here.

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
        tables: Mapping[str, str | None] | None = None,
        scale: Scale = TIMES,
        fill_items: bool = True,
    ) -> None:
        super().__init__(start, tables=tables, scale=scale, fill_items=fill_items)

    @override
    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        self.begin(model, resumed=state.global_step > 0, processes=args.world_size)

    @override
    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history.append({**self.look(), "epoch": state.epoch, "step": state.global_step})
