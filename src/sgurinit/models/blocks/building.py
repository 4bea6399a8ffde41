"""The device on which the constant graphs of a model are built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_DEVICE: ContextVar[torch.device | None] = ContextVar("building_device", default=None)


@contextmanager
def build_on(device: torch.device) -> Iterator[None]:
    """Context manager: build large graphs of the models created inside it on a device.

    The graphs themselves are on the CPU afterwards and move with the model.

    Parameters
    ----------
    device : torch.device
        Where the products of large tables are computed.

    See Also
    --------
    sgurinit.models.blocks.item_graph.build_knn_graph : Reads it.

    Examples
    --------
    >>> import torch
    >>> with build_on(torch.device("meta")):
    ...     get_building_device()
    device(type='meta')
    """
    token = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(token)


def get_building_device() -> torch.device:
    """Return the device of `build_on`; the CPU outside of it."""
    return _DEVICE.get() or torch.device("cpu")
