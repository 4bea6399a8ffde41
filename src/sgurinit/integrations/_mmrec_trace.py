"""Trace one step of a model to find which items it stacks below each of its user tables.

A model does not declare in which space a user table lies, but its code shows it: users and items of
one space are stacked, users first, before they are propagated over a graph or compared. The tracer
marks every tensor of a step with the tables and features that it was computed from. It records
which tensors are stacked, column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary
from typing_extensions import override

_JOINS = {torch.cat, torch.concat, torch.concatenate}
Marks = frozenset[str]


@dataclass(frozen=True)
class StackedItems:
    """Items that lie in the space of some columns of a user table.

    Attributes
    ----------
    users : str
        Name of the user table.
    columns : slice
        Those columns.
    items : Tensor, shape (n_items, width)
        The items' vectors.
    sources : frozenset of str
        Names of the tables and features that the items' vectors were computed from.
    """

    users: str
    columns: slice
    items: Tensor
    sources: Marks


class StackTracer(TorchFunctionMode):
    """Marks the tensors of a step and records stacks, inside a ``with`` block.

    Parameters
    ----------
    sources : mapping of str to Tensor
        Names and tensors to trace: user tables, item tables, features.
    n_users, n_items : int
        Numbers of users and of items.
    """

    def __init__(self, sources: Mapping[str, Tensor], n_users: int, n_items: int) -> None:
        super().__init__()
        self.sources = sources
        self.n_users, self.n_items = n_users, n_items
        self._marks = WeakTensorKeyDictionary()
        self._parts = WeakTensorKeyDictionary()
        for name, tensor in sources.items():
            self._marks[tensor] = frozenset({name})
        self._stacks: list[tuple[Tensor, Tensor]] = []
        self._joined_items: list[Tensor] = []

    def marks(self, value: Any) -> Marks:
        """Return the sources that a tensor, or the tensors of a container, were computed from."""
        found = (self._marks.get(tensor, frozenset()) for tensor in _tensors(value))
        return frozenset().union(*found)

    @override
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        marks = self.marks((args, list(kwargs.values())))
        if marks:
            for tensor in _tensors(result):
                self._marks[tensor] = marks | self._marks.get(tensor, frozenset())
        if func in _JOINS:
            self._record(result, *_join(*args, **kwargs))
        return result

    def _record(self, result: Tensor, parts: list[Tensor], dim: int) -> None:
        if result.ndim != 2:
            return
        if dim % 2 == 1:
            self._parts[result] = parts
            if len(result) == self.n_items:
                self._joined_items.append(result)
        elif [len(part) for part in parts] == [self.n_users, self.n_items]:
            self._stacks.append((parts[0], parts[1]))

    def stacked_items(self) -> list[StackedItems]:
        """Return the items that were stacked below user tables, in the order of the step.

        A user table without items below it is paired with items that were joined from several
        parts, if these have its width.
        """
        stacks = list(self._stacks)
        stacked = {self._table(part) for upper, _ in stacks for part, _, _ in self._pieces(upper)}
        for name, table in self.sources.items():
            if table.ndim == 2 and len(table) == self.n_users and name not in stacked:
                stacks += [(table, i) for i in self._joined_items if i.shape[1] == table.shape[1]]
        return [found for upper, lower in stacks for found in self._match(upper, lower)]

    def _match(self, upper: Tensor, lower: Tensor) -> Iterator[StackedItems]:
        for part, start, stop in self._pieces(upper):
            name = self._table(part)
            if name is None:
                continue
            for items, first, last in self._pieces(lower):
                begin, end = max(start, first), min(stop, last)
                if begin < end:
                    yield StackedItems(
                        name,
                        slice(begin - start, end - start),
                        items.detach()[:, begin - first : end - first],
                        self.marks(items),
                    )

    def _pieces(self, joined: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Yield the parts that a tensor was joined from side by side, with their columns."""
        start = 0
        for part in self._parts.get(joined, [joined]):
            yield part, start, start + part.shape[1]
            start += part.shape[1]

    def _table(self, part: Tensor) -> str | None:
        """Return the name of the user table that a tensor was computed from row by row, if any."""
        marks = self.marks(part)
        if len(marks) != 1:
            return None
        (name,) = marks
        return name if self.sources[name].shape == part.shape else None


def _join(tensors: Any, dim: int = 0, **_: Any) -> tuple[list[Tensor], int]:
    return list(tensors), dim


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
