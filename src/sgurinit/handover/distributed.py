"""Tensors whose rows several processes hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torch import Tensor
from typing_extensions import TypeIs

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_distributed(tensor: Tensor) -> TypeIs[DTensor]:
    """Return whether a tensor is a `DTensor`.

    Torch takes more than a second to import that class. It is not imported here: before anyone has,
    there is no such tensor.
    """
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def gather(tensor: Tensor) -> Tensor:
    """Return the whole of a distributed tensor, any other as it is.

    All processes that hold a part have to call it.
    """
    return tensor.full_tensor() if is_distributed(tensor) else tensor
