"""The user tables of a traced MMRec or MRLib model, and the spaces they lie in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sgurinit.core import FittedStart, UserStart
from sgurinit.integrations._mmrec_trace import StackedItems
from sgurinit.models.base import UserTable

_MIN_WIDTH = 8  # a table of fewer columns holds weights of a user, not vectors


@dataclass
class TracedModel:
    """Tensors of a model that have one row per user, per item, or both.

    Attributes
    ----------
    tensors : mapping of str to Tensor
        The tensors by name.
    features : mapping of str to str
        Names of the tensors that are the unchanged features of a modality, with that modality.
    start : UserStart
        A start for the model's users.
    """

    tensors: Mapping[str, Tensor]
    features: Mapping[str, str]
    start: UserStart

    @classmethod
    def build(cls, model: nn.Module, start: UserStart) -> TracedModel:
        """Collect the tensors of a model."""
        assert isinstance(start, FittedStart)  # noqa: S101 - checked by the caller
        trained = {start.n_users, start.n_users + start.n_items}
        tensors = {
            name: tensor
            for name, tensor in _attributes(model)
            if tensor.ndim == 2
            and tensor.is_floating_point()
            and tensor.layout is torch.strided
            and (len(tensor) == start.n_items or (len(tensor) in trained and tensor.requires_grad))
        }
        given = {m: torch.tensor(t.values).float() for m, t in start.fit.features.items()}
        features = {
            name: modality
            for name, tensor in tensors.items()
            for modality, values in given.items()
            if tensor.shape == values.shape and torch.equal(tensor.detach().cpu().float(), values)
        }
        return cls(tensors, features, start)

    def _is_free_item_table(self, name: str) -> bool:
        """Whether a tensor is a trained item table without features."""
        tensor = self.tensors[name]
        return (
            len(tensor) == self.start.n_items and tensor.requires_grad and name not in self.features
        )

    def _is_vector_table(self, name: str, rows: int) -> bool:
        """Whether a tensor has that many rows and enough columns for vectors."""
        tensor = self.tensors[name]
        return len(tensor) == rows and tensor.shape[1] >= _MIN_WIDTH

    def stacked_tables(self, notes: list[StackedItems]) -> list[UserTable]:
        """Return tables with items below them: trained ones first, then features, then others."""
        best: dict[tuple[str, int], tuple[int, StackedItems, str | None]] = {}
        for note in notes:
            free = next(filter(self._is_free_item_table, note.sources), None)
            if free is not None and not torch.equal(self.tensors[free], note.items):
                free = None
            rank = 2 if free else int(any(name in self.features for name in note.sources))
            key = (note.users, note.columns.start)
            if key not in best or rank > best[key][0]:
                best[key] = (rank, note, free)
        return [self._table(note, free) for _, note, free in best.values()]

    def _table(self, note: StackedItems, free: str | None) -> UserTable:
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

    def node_tables(self, used: frozenset[str]) -> list[UserTable]:
        """Return tables of users and items in one, users first."""
        users, both = self.start.n_users, self.start.n_users + self.start.n_items
        return [
            UserTable(
                name,
                _rows(self.tensors[name], slice(users)),
                "free",
                items=_rows(self.tensors[name], slice(users, both)),
            )
            for name in sorted(used)
            if self._is_vector_table(name, both)
        ]

    def other_tables(self, used: frozenset[str]) -> list[UserTable]:
        """Return tables without items below them, with the one free item table of their width."""
        tables = []
        for name in sorted(used):
            if not self._is_vector_table(name, self.start.n_users):
                continue
            width = self.tensors[name].shape[1]
            partners = [
                _rows(self.tensors[other])
                for other in sorted(used)
                if self._is_free_item_table(other) and self.tensors[other].shape[1] == width
            ]
            items = partners[0] if len(partners) == 1 else None
            tables.append(UserTable(name, _rows(self.tensors[name]), "free", items=items))
        return tables


def _rows(table: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> nn.Parameter:
    """Return a view of a table; writing to the view fills the table."""
    return cast(nn.Parameter, table.detach()[rows, columns])


def _attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and all other tensors that a module holds, each once."""
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
def restored(model: nn.Module) -> Iterator[None]:
    """Restore a module's weights and attributes and all random generators after the block."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [
        (module, {k: dict(v) if isinstance(v, dict) else v for k, v in vars(module).items()})
        for module in model.modules()
    ]
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the checkouts use it
    with torch.random.fork_rng():
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    for module, before in attributes:
        vars(module).clear()
        vars(module).update(before)
    model.load_state_dict(weights)
