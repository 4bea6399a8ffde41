"""The operations of a `Processor` with torch, on any device that has float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from sgurinit.core.inputs.arrays import FloatArray, LabelArray
from sgurinit.core.inputs.features import BFLOAT16
from sgurinit.core.steps.processor import Processor
from sgurinit.errors import MemoryInputError

# Memory that blocks are sized for where the device does not say how much is free.
_MEMORY = 1 << 30
# Shares of the free memory: of a table that stays, of another one that many blocks are computed
# from, and of a block. A function of a block needs several of its size.
_HELD, _TABLE, _BLOCK = 2, 6, 24
# Largest block. A larger one takes as long per row.
_BLOCK_BYTES = 1 << 28


class TorchProcessor(Processor):
    """Torch on a device. Tables stay in the memory of the CPU and pass through in blocks.

    Products are in the precision of `Processor` or a higher one, and no sum depends on the order in
    which the threads of a device finish.

    Parameters
    ----------
    device : torch.device
        Where to compute.
    memory : int, optional
        Bytes that blocks are sized for; what is free on the device by default.
    """

    xp = torch
    # Not float32, which a card may round to 10 bits, as the program around this one says.
    nearest_precision = np.float64

    def __init__(self, device: torch.device, memory: int | None = None) -> None:
        self.device, self._memory = device, memory

    def _find_memory(self) -> int:
        """Find the bytes that are free, those that torch keeps for later use among them."""
        if self._memory is not None:
            return self._memory
        if self.device.type != "cuda":
            return _MEMORY
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(free + kept)

    @override
    def put(self, array: Any, dtype: type[np.floating] | None = None) -> Tensor:
        if isinstance(array, Tensor):
            tensor = array
        elif array.dtype == BFLOAT16:
            tensor = self.put(array.view(np.int16)).view(torch.bfloat16)
        else:
            # Tensors have no foreign byte order, no negative strides and no read-only memory.
            native = array.astype(array.dtype.newbyteorder("="), copy=False)
            if not native.flags.writeable or min(native.strides, default=0) < 0:
                native = native.copy()
            tensor = torch.from_numpy(np.ascontiguousarray(native)).to(self.device)
        return tensor if dtype is None else tensor.to(_TYPES[dtype])

    @override
    def get(self, array: Tensor) -> Any:
        return array.cpu().numpy()

    @override
    def hold(self, rows: FloatArray) -> Any:
        return self.put(rows) if rows.nbytes <= self._find_memory() // _HELD else rows

    @override
    def put_sparse(self, matrix: sp.csr_array) -> _Sparse:
        return _Sparse(
            self.put(matrix.indptr), self.put(matrix.indices), self.put(matrix.data), matrix.shape
        )

    @override
    def lay_out(self, block: Tensor) -> Tensor:
        return block.contiguous()

    @override
    def count_threads(self, n_jobs: int | None) -> int | None:
        return None  # the device has its own

    @override
    def choose_table_bytes(self, usual: int) -> int:
        return self._find_memory() // _TABLE

    @override
    def choose_block_bytes(self, usual: int) -> int:
        return min(self._find_memory() // _BLOCK, _BLOCK_BYTES)

    @override
    def iter_slices(self, rows: Any, *, beside: int = 0, usual: int = 0) -> Iterator[slice]:
        row_bytes = 8 * max(1, rows.shape[1] + beside)
        step = max(1, self.choose_block_bytes(0) // row_bytes)
        for first in range(0, len(rows), step):
            yield slice(first, first + step)

    @override
    def map_rows(self, function: Callable[..., Tensor], *tables: FloatArray) -> FloatArray:
        out: FloatArray | None = None
        for where in self.iter_slices(tables[0]):
            part = self.get(function(*(self.put(table[where]) for table in tables)))
            if out is None:
                out = np.empty((len(tables[0]), *part.shape[1:]), dtype=part.dtype)
            out[where] = part
        assert out is not None  # noqa: S101 - there is at least one row
        return out

    @override
    def sum_rows(self, function: Callable[..., Tensor], *tables: FloatArray) -> FloatArray:
        parts = [
            self.get(function(*(self.put(table[where]) for table in tables)))
            for where in self.iter_slices(tables[0])
        ]
        total: FloatArray = np.sum(parts, axis=0)
        return total

    @override
    def find_basis(self, rows: FloatArray) -> FloatArray:
        slices = list(self.iter_slices(rows))
        if len(slices) == 1:
            whole: FloatArray = self.get(torch.linalg.qr(self.put(rows))[0])
            return whole
        # The decomposition of a tall table is that of its blocks' triangles.
        triangles = [torch.linalg.qr(self.put(rows[where]), mode="r").R for where in slices]
        joint = torch.linalg.qr(torch.cat(triangles))[0]
        turns = joint.split([len(triangle) for triangle in triangles])
        basis = np.empty((len(rows), joint.shape[1]), dtype=rows.dtype)
        for where, turn in zip(slices, turns, strict=True):
            basis[where] = self.get(torch.linalg.qr(self.put(rows[where]))[0] @ turn)
        return basis

    @override
    def sum_groups(self, block: Tensor, labels: LabelArray, n_groups: int) -> Tensor:
        # In float64: one sum then has as many terms as a group has rows.
        members = torch.zeros((n_groups, len(block)), dtype=torch.float64, device=self.device)
        members.scatter_(0, self.put(labels.astype(np.int64))[None], 1.0)
        return members @ block.double()

    @override
    def find_kth(self, values: Tensor, k: int) -> Tensor:
        return torch.topk(values, k, dim=1).values[:, -1:]

    @override
    @contextmanager
    def explain_memory(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise MemoryInputError(
                f"device is {str(self.device)!r}, which is out of memory: stop other programs that "
                "use it, or set `device` to 'cpu'"
            ) from None


class _Sparse:
    """A sparse matrix by rows on a device."""

    def __init__(
        self, offsets: Tensor, columns: Tensor, weights: Tensor, shape: tuple[int, int]
    ) -> None:
        self._offsets, self._columns = offsets.long(), columns.long()
        self._weights, self.shape = weights, shape

    def __matmul__(self, table: Tensor) -> Tensor:
        """Multiply by a vector or a table, in the higher precision of both."""
        kind = table.dtype
        if self._weights.is_floating_point():
            kind = torch.promote_types(kind, self._weights.dtype)
        rows = table[:, None] if table.ndim == 1 else table
        # A weighted sum of looked-up rows, which is what an embedding bag computes.
        product = functional.embedding_bag(
            self._columns,
            rows.to(kind).contiguous(),
            self._offsets,
            mode="sum",
            per_sample_weights=self._weights.to(kind),
            include_last_offset=True,
        )
        return product[:, 0] if table.ndim == 1 else product

    @property
    def T(self) -> _Sparse:  # noqa: N802 - SciPy's name
        """The transpose, by rows too: each row's entries are in the order of its columns."""
        order = torch.argsort(self._columns, stable=True)
        counts = torch.bincount(self._columns, minlength=self.shape[1])
        n_rows = len(self._offsets) - 1
        rows = torch.arange(n_rows, device=order.device).repeat_interleave(self._offsets.diff())
        offsets = functional.pad(counts.cumsum(0), (1, 0))
        return _Sparse(offsets, rows[order], self._weights[order], self.shape[::-1])


_TYPES: dict[type[np.floating], torch.dtype] = {
    np.float32: torch.float32,
    np.float64: torch.float64,
}
