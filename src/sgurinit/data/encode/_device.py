"""Where a model computes, and a word for where it is too big."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sgurinit.errors import InputError


def pick_device(wanted: str | None) -> str:
    """Return the device that was asked for, or the best there is.

    Raises
    ------
    InputError
        If there is no such device.
    """
    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        detail = str(error).strip().splitlines()[0]
        raise InputError(f"device is {wanted!r}: cannot be used here ({detail})") from None
    return wanted


@contextmanager
def fitting_torchvision() -> Iterator[None]:
    """Say what helps where a library cannot load torchvision.

    That is so where torch and torchvision are builds that do not belong together, such as torch
    without CUDA from one index and torchvision for CUDA from another.
    """
    try:
        yield
    except (RuntimeError, ModuleNotFoundError) as error:
        if getattr(error, "name", None):  # a package that is not installed
            raise
        raise InputError(
            f"torchvision cannot be loaded ({' '.join(str(error).split())[:120]}): take it from "
            "the index that torch is from, or, for text alone, remove it"
        ) from error


@contextmanager
def enough_memory(device: str, batch: int) -> Iterator[None]:
    """Say what helps where the device's memory is not enough."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(
            f"out of memory on {device} with `batch` {batch}: give a smaller `batch`, or `device` "
            "cpu; what was encoded so far is kept"
        ) from None
