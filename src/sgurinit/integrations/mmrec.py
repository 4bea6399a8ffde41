"""MMRec and MRLib: starts for the models of unmodified checkouts, from their own data folders.

Both projects have the same base classes and the same ``quick_start``. Neither is on a package
index.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from sklearn.base import clone
from torch import nn

from sgurinit.core import FittedStart, SGURInit, UserStart
from sgurinit.data import load_dataset
from sgurinit.errors import InputError
from sgurinit.handover import DEFAULT_SCALE, Scale, TableReport, fill_tables_
from sgurinit.integrations._mmrec_tables import TracedModel, restored
from sgurinit.integrations._mmrec_trace import StackTracer
from sgurinit.models.base import UserTable

_BATCH_SIZE = 64


@contextmanager
def patch_quick_start(
    start: UserStart | None = None,
    *,
    estimator: SGURInit | None = None,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> Iterator[list[TableReport]]:
    """Fill the tables of every model that ``quick_start`` builds inside a ``with`` block.

    The module ``utils`` must be that of the checkout: call it in the checkout's ``src`` folder or
    with that folder on ``sys.path``.

    Parameters
    ----------
    start : UserStart, optional
        A start as fitted. By default one is fitted on the data folder that the run names.
    estimator : SGURInit, optional
        Parameters of that fit. ``SGURInit(random_state=0)`` by default.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Yields
    ------
    list of TableReport
        The reports on the model that was built last.

    Raises
    ------
    InputError
        When a model is built, see `attach`.

    See Also
    --------
    attach : Fills the tables of one model.
    sgurinit.integrations.compat.legacy_compat : Runs the checkouts on current libraries.

    Examples
    --------
    ```python
    from utils.quick_start import quick_start

    with legacy_compat(), patch_quick_start() as reports:
        quick_start("FREEDOM", "baby", {"gpu_id": 0})
    print(reports)
    ```
    """
    quick = import_module("utils.quick_start")
    original = quick.get_model
    reports: list[TableReport] = []
    fitted = start

    def get_model(name: str) -> Any:
        def construct(config: Any, train_data: Any) -> nn.Module:
            nonlocal fitted
            if fitted is None:
                fitted = fit_start(config, estimator=estimator)
            model: nn.Module = original(name)(config, train_data).to(config["device"])
            reports[:] = attach(model, fitted, train_data, scale=scale, fill_items=fill_items)
            return model

        return construct

    with patch.object(quick, "get_model", get_model):
        yield reports


def fit_start(config: Any, *, estimator: SGURInit | None = None) -> UserStart:
    """Fit a start on the data folder that a config names.

    Parameters
    ----------
    config : mapping
        The checkout's ``Config``, or a mapping with ``data_path`` and ``dataset``.
    estimator : SGURInit, optional
        Parameters of the method. ``SGURInit(random_state=0)`` by default.

    Returns
    -------
    UserStart

    Raises
    ------
    InputError
        The folder cannot be read, see `sgurinit.load_dataset`.

    See Also
    --------
    attach : Fills the tables of a model from this start.

    Examples
    --------
    ```python
    start = fit_start({"data_path": "../data/", "dataset": "baby"})
    ```
    """
    fitted = SGURInit(random_state=0) if estimator is None else clone(estimator)
    return fitted.fit(load_dataset(Path(config["data_path"]) / config["dataset"])).start_


def attach(
    model: nn.Module,
    start: UserStart,
    train_data: Any,
    *,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> tuple[TableReport, ...]:
    """Fill the user tables of an MMRec or MRLib model, each in its own space.

    Tables in a projected space are filled once, at the projection's initial weights. If the start
    has no ``joint_dim``, a collaborative one is carried into raw and projected spaces from a
    joint space as wide as the narrowest table. On a CPU, some models declare the result of their
    last step as a parameter, which no later step can overwrite. Such parameters are removed, so
    that the model can be trained there.

    Parameters
    ----------
    model : Module
        A model as built, on its device, before its trainer is built.
    start : UserStart
        A start as fitted, on the data that the model was built for.
    train_data : TrainDataLoader
        The checkout's loader of training data.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Returns
    -------
    tuple of TableReport
        One report per user table, or per block of columns where these lie in several spaces.

    Raises
    ------
    InputError
        No user table is found, there are as many users as items, the start was loaded, or its
        `preprocess` has no effect because no table is in a raw space.

    See Also
    --------
    patch_quick_start : Does this for every model that ``quick_start`` builds.
    find_tables : Finds the tables without filling them.

    Examples
    --------
    ```python
    model = get_model("FREEDOM")(config, train_data).to(config["device"])
    attach(model, fit_start(config), train_data)
    ```
    """
    for name in [name for name in model._parameters if name.startswith("result_embed")]:
        del model._parameters[name]
    found = find_tables(model, start, train_data)
    width = min(table.parameter.shape[1] for table in found)
    return fill_tables_(found, start, scale, fill_items=fill_items, width=width)


def find_tables(model: nn.Module, start: UserStart, train_data: Any) -> list[UserTable]:
    """Find the user tables of a model and their spaces by tracing the loss of one small batch.

    Items that a model stacks below a user table lie in that table's space: a trained item table (a
    free space), the features themselves (a raw space), or the model's projection of them (a
    projected space). One table of users and items, users first, is a free space too. Any other user
    table is in a free space, with the one trained item table of its width. All changes that the
    step makes to the model are undone.

    Parameters
    ----------
    model : Module
        A model as built, on its device.
    start : UserStart
        A start as fitted, on the data that the model was built for.
    train_data : TrainDataLoader
        The checkout's loader of training data.

    Returns
    -------
    list of UserTable
        The features of a table in a raw or projected space are the items' vectors that were stacked
        below it. It has no projection.

    Raises
    ------
    InputError
        No user table is found, there are as many users as items, or the start was loaded.

    See Also
    --------
    attach : Finds the tables and fills them.

    Examples
    --------
    ```python
    for table in find_tables(model, fit_start(config), train_data):
        print(table.name, table.space, table.modality)
    ```
    """
    if not isinstance(start, FittedStart):
        raise InputError(
            "a loaded start has no features, which are needed to find the space of a table: fit "
            "SGURInit on the data and use its start_"
        )
    if start.n_users == start.n_items:
        raise InputError(
            f"there are as many users as items ({start.n_users}), so shapes cannot tell their "
            "tables apart: use initialize_ on each table"
        )
    traced = TracedModel.build(model, start)
    pairs = train_data.inter_matrix(form="coo")
    device = next(model.parameters()).device
    users, positives = (
        torch.tensor(ids[:_BATCH_SIZE], device=device) for ids in (pairs.row, pairs.col)
    )
    batch = torch.stack([users, positives, positives.roll(1)]).long()
    with restored(model), StackTracer(traced.tensors, start.n_users, start.n_items) as tracer:
        model.train()
        model.pre_epoch_processing()  # type: ignore[operator]
        loss = model.calculate_loss(batch)  # type: ignore[operator]
    used = tracer.marks(loss)
    found = [*traced.stacked_tables(tracer.stacked_items()), *traced.node_tables(used)]
    named = {table.name.partition("[")[0] for table in found}
    found += traced.other_tables(used - named)
    if not found:
        raise InputError(
            f"{type(model).__name__} trains no table with {start.n_users} rows, one per user of "
            "the start"
        )
    filled: set[int] = set()
    for at, table in enumerate(found):  # an item table of several user tables is filled once
        if table.items is not None and table.items.data_ptr() in filled:
            found[at] = replace(table, items=None)
        elif table.items is not None:
            filled.add(table.items.data_ptr())
    return found
