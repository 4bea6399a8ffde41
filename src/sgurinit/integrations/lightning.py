"""A Lightning callback that fills a module's user tables and logs how they change."""

from __future__ import annotations

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from sgurinit.integrations._callback import StartTracker


class StartCallback(StartTracker, Callback):
    """Fills a module's user tables when its fit begins and logs how they change.

    A fit that resumes from a checkpoint keeps its weights, and so does a second fit with the same
    callback. At the end of each epoch the callback logs, per table, under
    ``start/<table>/<name>``: ``user_norm`` and ``item_norm`` (mean row norms), ``moved`` (mean
    cosine of the rows with those at the beginning of the fit), and ``alignment`` and
    ``centroid_distance`` of the semantic gap. The gap needs an item table in the same space and a
    start as fitted.

    Parameters
    ----------
    start : UserStart
        A start for the users of the module, in the order of the tables' rows. For a loaded start
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
        What was done to each table. Empty before the fit and where a fit resumed from a checkpoint.
    history : list of dict
        The logged values: one mapping at the beginning of the fit, then one per epoch.

    Raises
    ------
    InputError
        At the beginning of the fit, see `sgurinit.integrations.torch.attach`.

    See Also
    --------
    sgurinit.integrations.torch.attach : Fills the tables without a trainer.
    sgurinit.integrations.transformers.StartTrainerCallback : The same for Hugging Face.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.lightning import StartCallback
    >>> callback = StartCallback(SGURInit(random_state=0).fit(planted(200, 100)).start_)
    >>> callback.reports
    ()

    Pass it to the trainer: ``lightning.Trainer(callbacks=[callback]).fit(module, batches)``.
    """

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
        pl_module.log_dict(self.record())
