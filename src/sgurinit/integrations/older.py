"""What frameworks written for older NumPy, SciPy and torch need to run on today's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
import torch

# Names that NumPy 2 removed.
_NUMPY: dict[str, Any] = {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "Inf": np.inf,
}


def _update(matrix: Any, entries: dict[tuple[int, int], float]) -> None:
    matrix._dict.update(entries)


@contextmanager
def modernised() -> Iterator[None]:
    """Give back, inside a ``with`` block, what RecBole 1.2 and MMRec ask of their libraries.

    Names that NumPy 2 removed (``np.float_`` ...), SciPy's ``dok_matrix._update``, and
    ``torch.load`` of whole objects, which those frameworks write as checkpoints: inside the block
    load no file that you did not write yourself.
    """
    load = partial(torch.load, weights_only=False)
    with patch.multiple(np, None, True, **_NUMPY), patch.object(torch, "load", load):
        if hasattr(sp.dok_matrix, "_update"):
            yield
        else:
            with patch.object(sp.dok_matrix, "_update", _update, create=True):
                yield
