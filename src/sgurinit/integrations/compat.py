"""Run frameworks written for older versions of NumPy, SciPy and torch on current ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

# Names that NumPy removed.
_NUMPY: dict[str, Any] = {
    "float": float,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "Inf": np.inf,
}
# Modules that MMRec and MRLib import but do not use.
_UNUSED = ("lmdb", "torch_sparse", "torchvision", "torchvision.transforms",
           "torchvision.transforms.functional")  # fmt: skip


@contextmanager
def legacy_compat() -> Iterator[None]:
    """Let RecBole 1.2, MMRec and MRLib run on current libraries, inside a ``with`` block.

    The block restores names that NumPy removed (``np.float_`` and others), SciPy's
    ``dok_matrix._update`` and ``torch.load`` of whole objects, which those frameworks write as
    checkpoints. So load no file inside the block that you did not write yourself. It adds stand-ins
    for modules that MMRec and MRLib import but do not use (lmdb, torchvision, torch_sparse) and for
    the one function of torch_scatter that they call, where these are not installed. Without a GPU,
    ``.cuda()`` has no effect. Everything is undone at the end of the block.

    Yields
    ------
    None

    See Also
    --------
    sgurinit.integrations.mmrec.patch_quick_start : Starts for MMRec and MRLib.
    sgurinit.integrations.recbole.fit_start : Starts for RecBole.

    Examples
    --------
    >>> import numpy as np
    >>> from sgurinit.integrations.compat import legacy_compat
    >>> with legacy_compat():
    ...     np.float_ is np.float64
    True
    >>> hasattr(np, "float_")
    False
    """
    with ExitStack() as stack:
        stack.enter_context(patch.multiple(np, None, True, **_NUMPY))
        load = partial(torch.load, weights_only=False)
        stack.enter_context(patch.object(torch, "load", load))
        if not hasattr(sp.dok_matrix, "_update"):
            stack.enter_context(patch.object(sp.dok_matrix, "_update", _update, create=True))
        if not torch.cuda.is_available():
            for kind in (torch.Tensor, nn.Module):
                stack.enter_context(patch.object(kind, "cuda", _stay))
        stack.enter_context(patch.dict(sys.modules, _stand_ins()))
        yield


def _stand_ins() -> dict[str, Any]:
    found: dict[str, Any] = {
        name: MagicMock() for name in _UNUSED if not _installed(name.partition(".")[0])
    }
    if not _installed("torch_scatter"):
        found["torch_scatter"] = SimpleNamespace(scatter=None, scatter_add=_scatter_add)
    if "torch_sparse" in found and _installed("torch_geometric"):
        import_module(
            "torch_geometric.typing"
        )  # looks for torch_sparse; it must not find the stand-in
    return found


def _installed(name: str) -> bool:
    return name in sys.modules or find_spec(name) is not None


def _update(matrix: Any, entries: dict[tuple[int, int], float]) -> None:
    matrix._dict.update(entries)


def _stay(thing: Any, *_: Any, **__: Any) -> Any:
    return thing


def _scatter_add(source: Tensor, index: Tensor, dim: int, dim_size: int) -> Tensor:
    return source.new_zeros(dim_size).index_add(dim, index, source)
