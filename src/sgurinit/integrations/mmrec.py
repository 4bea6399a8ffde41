"""MMRec and MRLib: starts for the models of their unmodified trees, from their own data folders.

Both trees have the same base classes and the same ``quick_start``; neither is on a package index.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from sgurinit.core import SGURInit, UserStart
from sgurinit.data import load_dataset
from sgurinit.errors import InputError
from sgurinit.handover import TIMES, Scale, TableReport, fill
from sgurinit.integrations._mmrec_trace import Beside, Watcher
from sgurinit.models.base import UserTable

_NARROW = 8  # a table of fewer columns holds weights of a user, not a vector
_BATCH = 64


@contextmanager
def started(
    start: UserStart | None = None,
    *,
    estimator: SGURInit | None = None,
    scale: Scale = TIMES,
    fill_items: bool = True,
) -> Iterator[list[TableReport]]:
    """Start every model that the tree's ``quick_start`` builds inside a ``with`` block.

    Call it where ``utils`` is the tree's: in its ``src`` folder, or with that on ``sys.path``.

    Parameters
    ----------
    start : UserStart, optional
        A start as fitted; by default one is fitted on the data folder that the run names.
    estimator : SGURInit, optional
        Parameters of that fit; the method's defaults where None.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `sgurinit.hand_over`.
    fill_items : bool, default True
        See `sgurinit.hand_over`.

    Yields
    ------
    list of TableReport
        What was done to the model built last.
    """
    quick = import_module("utils.quick_start")
    find = quick.get_model
    reports: list[TableReport] = []
    fitted = start

    def get_model(name: str) -> Any:
        def construct(config: Any, train_data: Any) -> nn.Module:
            nonlocal fitted
            if fitted is None:
                fitted = start_for(config, estimator=estimator)
            model: nn.Module = find(name)(config, train_data).to(config["device"])
            reports[:] = attach(model, fitted, train_data, scale=scale, fill_items=fill_items)
            return model

        return construct

    with patch.object(quick, "get_model", get_model):
        yield reports


def start_for(config: Any, *, estimator: SGURInit | None = None) -> UserStart:
    """Fit a start on the data folder that a tree's config names.

    Parameters
    ----------
    config : mapping
        The tree's ``Config``, or a mapping with ``data_path`` and ``dataset``.
    estimator : SGURInit, optional
        Parameters of the method; its defaults where None.

    Returns
    -------
    UserStart

    Raises
    ------
    InputError
        What the folder lacks; see `sgurinit.load_dataset`.
    """
    fitted = SGURInit(random_state=0) if estimator is None else clone(estimator)
    return fitted.fit(load_dataset(Path(config["data_path"]) / config["dataset"])).start_


def attach(
    model: nn.Module,
    start: UserStart,
    train_data: Any,
    *,
    scale: Scale = TIMES,
    fill_items: bool = True,
) -> tuple[TableReport, ...]:
    """Fill the user tables of a model of these trees, each in its own space.

    On a CPU some models declare the result of their last step as a parameter, which no step can
    overwrite; those are dropped, so that the model can be trained there. Tables in a projected
    space are filled once, at the projection's initial weights. Where the fit set no `joint_dim`,
    collaborative columns are carried into raw and projected spaces from a joint space as wide as
    the narrowest table.

    Parameters
    ----------
    model : Module
        A model as built, on its device, before its trainer is.
    start : UserStart
        A start as fitted, of the data that the model was built for.
    train_data : TrainDataLoader
        The tree's loader of training data.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `sgurinit.hand_over`.
    fill_items : bool, default True
        See `sgurinit.hand_over`.

    Returns
    -------
    tuple of TableReport
        One entry per user table, or per block of columns where these lie in several spaces.

    Raises
    ------
    InputError
        No user table is found, shapes cannot tell users from items, the start was loaded, or its
        `preprocess` has no effect, as no table is in a raw space.
    """
    for name in [name for name in model._parameters if name.startswith("result_embed")]:
        del model._parameters[name]
    found = find_tables(model, start, train_data)
    width = min(table.parameter.shape[1] for table in found)
    return fill(found, start, scale, fill_items=fill_items, width=width)


def find_tables(model: nn.Module, start: UserStart, train_data: Any) -> list[UserTable]:
    """Find the user tables of a model and their spaces by watching the loss of one small batch.

    What a model stacks below a user table lies in that table's space: a trained table of items
    (a free space), the features themselves, or the model's projection of them. Tables that users
    and items share, users first, are free spaces too; so is any other user table, beside the one
    trained item table of its width. What the step does to the model is undone.

    Parameters
    ----------
    model : Module
        See `attach`.
    start : UserStart
        See `attach`.
    train_data : TrainDataLoader
        See `attach`.

    Returns
    -------
    list of UserTable
        A table in a raw or projected space has the items' vectors that were seen beside it as its
        features, and no projection.

    Raises
    ------
    InputError
        See `attach`.
    """
    if start.source is None:
        raise InputError(
            "a loaded start has no features, which tell in which space a table lies: fit SGURInit "
            "on the data and use its start_"
        )
    if start.n_users == start.n_items:
        raise InputError(
            f"there are as many users as items ({start.n_users}), so shapes cannot tell their "
            "tables apart: use initialize_ on each table"
        )
    seen = _Seen.of(model, start)
    pairs = train_data.inter_matrix(form="coo")
    device = next(model.parameters()).device
    users, positives = (torch.tensor(ids[:_BATCH], device=device) for ids in (pairs.row, pairs.col))
    batch = torch.stack([users, positives, positives.roll(1)]).long()
    with _undone(model), Watcher(seen.tensors, start.n_users, start.n_items) as watcher:
        model.train()
        model.pre_epoch_processing()  # type: ignore[operator]
        loss = model.calculate_loss(batch)  # type: ignore[operator]
    found = [*seen.beside(watcher.found()), *seen.nodes(watcher.marks(loss))]
    named = {table.name.partition("[")[0] for table in found}
    found += seen.alone(watcher.marks(loss) - named)
    if not found:
        raise InputError(
            f"{type(model).__name__} trains no table with {start.n_users} rows, one per user of "
            "the start"
        )
    filled: set[int] = set()
    for at, table in enumerate(found):  # an item table beside several user tables is filled once
        if table.items is not None and table.items.data_ptr() in filled:
            found[at] = replace(table, items=None)
        elif table.items is not None:
            filled.add(table.items.data_ptr())
    return found


@dataclass
class _Seen:
    """Tensors of a model that have a row per user, per item, or both."""

    tensors: Mapping[str, Tensor]
    features: Mapping[str, str]  # names of those that are a modality as it is
    start: UserStart

    @classmethod
    def of(cls, model: nn.Module, start: UserStart) -> _Seen:
        assert start.source is not None  # noqa: S101 - seen by the caller
        learnt = {start.n_users, start.n_users + start.n_items}
        tensors = {
            name: tensor
            for name, tensor in _attributes(model)
            if tensor.ndim == 2
            and tensor.is_floating_point()
            and tensor.layout is torch.strided
            and (len(tensor) == start.n_items or (len(tensor) in learnt and tensor.requires_grad))
        }
        given = {m: torch.tensor(t.values).float() for m, t in start.source.features.items()}
        features = {
            name: modality
            for name, tensor in tensors.items()
            for modality, values in given.items()
            if tensor.shape == values.shape and torch.equal(tensor.detach().cpu().float(), values)
        }
        return cls(tensors, features, start)

    def free_items(self, name: str) -> bool:
        """Whether a tensor is a table of items that the model learns from nothing."""
        tensor = self.tensors[name]
        return (
            len(tensor) == self.start.n_items and tensor.requires_grad and name not in self.features
        )

    def vectors(self, name: str, rows: int) -> bool:
        tensor = self.tensors[name]
        return len(tensor) == rows and tensor.shape[1] >= _NARROW

    def beside(self, notes: list[Beside]) -> list[UserTable]:
        """Tables with items beside them: learnt tables before features, those before all else."""
        best: dict[tuple[str, int], tuple[int, Beside, str | None]] = {}
        for note in notes:
            free = next(filter(self.free_items, note.sources), None)
            if free is not None and not torch.equal(self.tensors[free], note.items):
                free = None
            rank = 2 if free else int(any(name in self.features for name in note.sources))
            key = (note.users, note.columns.start)
            if key not in best or rank > best[key][0]:
                best[key] = (rank, note, free)
        return [self._table(note, free) for _, note, free in best.values()]

    def _table(self, note: Beside, free: str | None) -> UserTable:
        table = self.tensors[note.users]
        columns = note.columns
        name = note.users
        if columns.stop - columns.start < table.shape[1]:
            name += f"[:, {columns.start}:{columns.stop}]"
        users = _rows(table, columns=columns)
        if free is not None:
            return UserTable(name, users, "free", items=_rows(self.tensors[free]))
        feature = next((s for s in note.sources if s in self.features), None)
        modality = self.features[feature] if feature else next(iter(self.start.users))
        raw = feature is not None and torch.equal(self.tensors[feature], note.items)
        return UserTable(
            name,
            users,
            "raw" if raw else "projected",
            modality=modality,
            features=note.items,
        )

    def nodes(self, used: frozenset[str]) -> list[UserTable]:
        """Tables of users and items in one, users first."""
        users, both = self.start.n_users, self.start.n_users + self.start.n_items
        return [
            UserTable(
                name,
                _rows(self.tensors[name], slice(users)),
                "free",
                items=_rows(self.tensors[name], slice(users, both)),
            )
            for name in sorted(used)
            if self.vectors(name, both)
        ]

    def alone(self, used: frozenset[str]) -> list[UserTable]:
        """Tables that were set beside nothing, with the one free item table of their width."""
        tables = []
        for name in sorted(used):
            if not self.vectors(name, self.start.n_users):
                continue
            width = self.tensors[name].shape[1]
            partners = [
                _rows(self.tensors[other])
                for other in sorted(used)
                if self.free_items(other) and self.tensors[other].shape[1] == width
            ]
            items = partners[0] if len(partners) == 1 else None
            tables.append(UserTable(name, _rows(self.tensors[name]), "free", items=items))
        return tables


def _rows(table: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> nn.Parameter:
    """A view of a table: what it gets, the table gets."""
    return cast(nn.Parameter, table.detach()[rows, columns])


def _attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, and tensors that a module keeps beside them, each once."""
    known = set()
    for name, parameter in model.named_parameters():
        known.add(id(parameter))
        yield name, parameter
    for path, module in model.named_modules():
        for attribute, value in vars(module).items():
            for at, tensor in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(tensor, Tensor) and id(tensor) not in known:
                    known.add(id(tensor))
                    suffix = f".{at}" if isinstance(value, list) else ""
                    yield f"{path}.{attribute}{suffix}".removeprefix("."), tensor


@contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    """Give a module's weights, attributes and all random generators back as they were."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [
        (module, {k: dict(v) if isinstance(v, dict) else v for k, v in vars(module).items()})
        for module in model.modules()
    ]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the trees' own
    with torch.random.fork_rng():
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    for module, before in attributes:
        vars(module).clear()
        vars(module).update(before)
    model.load_state_dict(weights)
