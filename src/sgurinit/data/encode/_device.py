"""Device selection, and hints for out-of-memory and torchvision errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sgurinit.errors import InputError


def choose_device(device: str | None) -> str:
    """Return the requested device, or by default CUDA where available, else the CPU.

    Raises
    ------
    InputError
        If the device cannot be used.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        detail = str(error).strip().splitlines()[0]
        raise InputError(f"device is {device!r}: cannot be used here ({detail})") from None
    return device


@contextmanager
def explain_torchvision_errors() -> Iterator[None]:
    """Explain what helps when a library cannot load torchvision.

    This happens when the builds of torch and torchvision do not match, such as torch without CUDA
    from one index and torchvision for CUDA from another.
    """
    try:
        yield
    except (RuntimeError, ModuleNotFoundError) as error:
        if getattr(error, "name", None):  # a package that is not installed
            raise
        raise InputError(
            f"torchvision cannot be loaded ({' '.join(str(error).split())[:120]}): install it from "
            "the same index as torch, or remove it if only text is encoded"
        ) from error


@contextmanager
def explain_out_of_memory(device: str, batch_size: int) -> Iterator[None]:
    """Explain what helps when the device runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(
            f"out of memory on {device} with `batch_size` {batch_size}: give a smaller "
            "`batch_size`, or `device` cpu; finished blocks are kept"
        ) from None
