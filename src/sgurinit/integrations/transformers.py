"""A callback for Hugging Face's Trainer that fills user tables and logs how they change."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from typing_extensions import override

from sgurinit.integrations._callback import StartTracker


class StartTrainerCallback(StartTracker, TrainerCallback):
    """Fills a model's user tables when its training begins and logs how they change.

    Training that resumes from a checkpoint keeps its weights, and so does a second training with
    the same callback. At the end of each epoch the values that
    `sgurinit.integrations.lightning.StartCallback` logs are appended to the trainer's
    ``state.log_history``.

    Parameters
    ----------
    start : UserStart
        A start for the users of the model, in the order of the tables' rows. For a loaded start
        the semantic gap is left out, because it does not hold the interactions.
    tables : mapping of str to str or None, optional
        Names of user tables, each with the name of the item table that shares its space, or None.
        By default they are found by shape, see `sgurinit.integrations.torch.find_tables`.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Attributes
    ----------
    reports : tuple of TableReport
        What was done to each table. Empty before training and where it resumed from a checkpoint.
    history : list of dict
        The logged values: one mapping at the beginning of training, then one per epoch.

    Raises
    ------
    InputError
        At the beginning of training, see `sgurinit.integrations.torch.attach`.

    See Also
    --------
    sgurinit.integrations.torch.attach : Fills the tables without a trainer.
    sgurinit.integrations.lightning.StartCallback : The same for Lightning.

    Examples
    --------
    ```python
    callback = StartTrainerCallback(SGURInit(random_state=0).fit(data).start_)
    Trainer(model, arguments, train_dataset=rows, callbacks=[callback]).train()
    callback.history
    ```
    """

    @override
    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        self.begin(model, resumed=state.global_step > 0, processes=args.world_size)

    @override
    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.log_history.append({
            **self.record(), "epoch": state.epoch, "step": state.global_step,
        })  # fmt: skip
