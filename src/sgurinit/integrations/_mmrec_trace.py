"""Which items a model sets beside each of its user tables, seen by watching one of its steps.

A model says nowhere in which space a user table lives, but its code shows it: users and items of
one space are stacked, users first, before they are propagated over a graph or compared. Here every
tensor of a step is marked with the tables and features that it was computed from, and what is
stacked on what is noted, column by column.
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
class Beside:
    """Items that lie in the space of some columns of a user table.

    Attributes
    ----------
    users : str
        Name of the user table.
    columns : slice
        The columns.
    items : Tensor of shape (n_items, width)
        The items' vectors.
    sources : frozenset of str
        Names of the tables and features that these were computed from.
    """

    users: str
    columns: slice
    items: Tensor
    sources: Marks


class Watcher(TorchFunctionMode):
    """Marks the tensors of a step, inside a ``with`` block.

    Parameters
    ----------
    sources : mapping of str to Tensor
        Names and tensors to watch: user tables, item tables, features.
    n_users, n_items : int
        Numbers of rows of either side.
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
        """Names of all that a tensor, or what is in a container, was computed from."""
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
            self._note(result, *_join(*args, **kwargs))
        return result

    def _note(self, result: Tensor, parts: list[Tensor], dim: int) -> None:
        if result.ndim != 2:
            return
        if dim % 2 == 1:
            self._parts[result] = parts
            if len(result) == self.n_items:
                self._joined_items.append(result)
        elif [len(part) for part in parts] == [self.n_users, self.n_items]:
            self._stacks.append((parts[0], parts[1]))

    def found(self) -> list[Beside]:
        """What was stacked below user tables, in the order of the step.

        A user table that was stacked on nothing, but is as wide as items that were joined of
        several parts, lies beside those.
        """
        stacks = list(self._stacks)
        stacked = {self._table(part) for upper, _ in stacks for part, _, _ in self._pieces(upper)}
        for name, table in self.sources.items():
            if table.ndim == 2 and len(table) == self.n_users and name not in stacked:
                stacks += [(table, i) for i in self._joined_items if i.shape[1] == table.shape[1]]
        return [beside for upper, lower in stacks for beside in self._beside(upper, lower)]

    def _beside(self, upper: Tensor, lower: Tensor) -> Iterator[Beside]:
        for part, start, stop in self._pieces(upper):
            name = self._table(part)
            if name is None:
                continue
            for items, first, last in self._pieces(lower):
                begin, end = max(start, first), min(stop, last)
                if begin < end:
                    yield Beside(
                        name,
                        slice(begin - start, end - start),
                        items.detach()[:, begin - first : end - first],
                        self.marks(items),
                    )

    def _pieces(self, joined: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Parts that a tensor was joined of side by side, with their columns."""
        start = 0
        for part in self._parts.get(joined, [joined]):
            yield part, start, start + part.shape[1]
            start += part.shape[1]

    def _table(self, part: Tensor) -> str | None:
        """The one user table that all rows of a tensor are made of, each of its own."""
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
