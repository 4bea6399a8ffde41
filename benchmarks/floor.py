"""The least time of an epoch: what it must move and compute, over what the device can.

One training step and one inference are run on the CPU, and their operations counted. The floor of
an epoch is the larger of bytes / bandwidth and operations / rate, where

    bytes of a step = sum of the parts below
      sparse product    entries * (index + weight + 4 d) + rows of the result * 4 d
      dense product     both tables and the result, 4 bytes a number
      rows looked up    rows * 4 d, and as much for their gradient
      Adam              32 per parameter: it and both moments are read and written, its gradient is
                        written and read
    operations          2 per entry and column of a sparse product, 2 n m d of a dense one

and an epoch has as many steps as triples / batch size. What works on single numbers (losses,
activations, sums of tables) is free, as if it were part of its neighbors. What happens once per
epoch (batches, sampled graphs) is free too. A ranking moves its vectors once and does 2 d
operations per user and item; its scores never leave the chip.

So BPR-MF needs ``32 P + 6 * 4 d B`` bytes per step, for P parameters and batches of B triples:
three rows each are read, and three gradients written. LightGCN with K layers reads six rows (the
propagated and the free vectors) and has 2 K products of the graph, which has two entries per
interaction: ``32 P + 12 * 4 d B + 2 K (2 E (8 + 4 d) + N 4 d)`` for N users and items.

A table that fits into a cache is read faster than this, so a small epoch can stay below its floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from sgurinit.models import Batch, Recommender

_ADAM_BYTES = 32  # per parameter and step
_FLOAT_BYTES = 4
_REPEATS = 7
_COPIED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}
_MATRIX_ROWS = {"cpu": 2048, "cuda": 8192}

_aten = torch.ops.aten
_BAGS = {_aten._embedding_bag, _aten._embedding_bag_forward_only}
_LOOKUPS = {_aten.index, _aten.index_select, _aten.embedding}
_ADDITIONS = {_aten.index_put: 2, _aten.index_put_: 2, _aten._index_put_impl_: 2}
_ADDITIONS |= {_aten.index_add: 3, _aten.index_add_: 3, _aten.embedding_dense_backward: 0}


@dataclass(frozen=True)
class Rates:
    """What a device does in a second.

    Attributes
    ----------
    bandwidth : float
        Bytes read and written by a copy of a large array.
    flops : float
        Operations of a large product of float32 matrices.
    """

    bandwidth: float
    flops: float


@dataclass(frozen=True)
class Work:
    """Bytes that must be moved, and operations on floating-point numbers."""

    bytes: float = 0.0
    flops: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.bytes + other.bytes, self.flops + other.flops)

    def __mul__(self, times: float) -> Work:
        return Work(self.bytes * times, self.flops * times)

    def seconds(self, rates: Rates) -> float:
        """Compute the least time for it."""
        return max(self.bytes / rates.bandwidth, self.flops / rates.flops)


def measure_rates(device: str) -> Rates:
    """Measure the rates of ``"cpu"`` or ``"cuda"``, the best of several tries."""
    source = torch.ones(_COPIED_BYTES[device] // _FLOAT_BYTES, device=device)
    target = torch.empty_like(source)
    copying = min(time_work(lambda: target.copy_(source), device, _REPEATS))
    n = _MATRIX_ROWS[device]
    left, right = torch.rand(2, n, n, device=device)
    multiplying = min(time_work(lambda: left @ right, device, _REPEATS))
    return Rates(2 * _COPIED_BYTES[device] / copying, 2 * n**3 / multiplying)


def time_work(work: Callable[[], Any], device: str, repeats: int) -> list[float]:
    """Measure the seconds of some work, several times."""
    seconds = []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds


def count_step(model: Recommender, batch: Batch) -> Work:
    """Count the work of one training step with Adam.

    Parameters
    ----------
    model : Recommender
        The model, on the CPU and in training mode. It gets gradients, but is not changed.
    batch : Batch
        The batch of the step.
    """
    model.begin_epoch(0)
    model.loss(batch)  # what the first step of an epoch builds is not counted
    with _count() as counted:
        model.loss(batch).backward()
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return counted.work + Work(bytes=_ADAM_BYTES * size)


@torch.no_grad()
def count_ranking(model: Recommender, n_users: int) -> Work:
    """Count the work of an inference on the CPU, and of the scores of all items for users."""
    was_training = model.training
    model.eval()
    with _count() as counted:
        users, items = model.embed()
    model.train(was_training)
    width = users.shape[1]
    return counted.work + Work(
        bytes=_FLOAT_BYTES * width * (n_users + len(items)),
        flops=2.0 * width * n_users * len(items),
    )


@dataclass
class _Counted:
    work: Work = field(default_factory=Work)


@contextmanager
def _count() -> Iterator[_Counted]:
    counted = _Counted()

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            counted.work += _count_operation(func.overloadpacket, args, kwargs, result)
            return result

    with Counter():
        yield counted


def _count_operation(operation: Any, args: Any, kwargs: Any, result: Any) -> Work:
    if operation in _BAGS:
        table, columns = args[0], args[1]
        entries, width = columns.numel(), table.shape[1]
        moved = entries * (columns.element_size() + _FLOAT_BYTES + _FLOAT_BYTES * width)
        return Work(moved + _size(result[0]), 2.0 * entries * width)
    if operation is _aten.sparse_sampled_addmm:
        entries, width = result.values().numel(), args[1].shape[1]
        return Work(_FLOAT_BYTES * entries * (2 * width + 2), 2.0 * entries * width)
    if operation in _LOOKUPS:
        return Work(_size(result))
    if operation in _ADDITIONS:
        return Work(_size(args[_ADDITIONS[operation]]))
    if operation in flop_registry:
        tables = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
        flops = flop_registry[operation](*args, **kwargs, out_val=result)
        return Work(sum(map(_size, tables)), float(flops))
    return Work()


def _size(tensor: Tensor) -> int:
    """Bytes of the numbers of a table; those of indices that look up rows are left out."""
    return tensor.numel() * _FLOAT_BYTES if tensor.is_floating_point() else 0
