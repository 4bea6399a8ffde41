"""Which device computes a start."""

from __future__ import annotations

from sgurinit.core.steps.processor import NUMPY, Processor
from sgurinit.errors import InputError

_WAYS = "'cpu', 'cuda', 'cuda:N' or 'auto'"


def find_processor(device: object) -> Processor:
    """Return what computes on a device.

    Parameters
    ----------
    device : str
        ``"cpu"`` for NumPy and SciPy; ``"cuda"`` or ``"cuda:N"`` for torch on a card of NVIDIA or
        AMD; ``"auto"`` for a card where torch finds one, else the CPU.

    Returns
    -------
    Processor

    Raises
    ------
    InputError
        The name is another, torch is not installed, or torch does not find the device.
    """
    if device == "cpu":
        return NUMPY
    name, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if device != "auto" and (
        name != "cuda" or (device != "cuda" and not (number.isascii() and number.isdecimal()))
    ):
        raise InputError(f"device must be {_WAYS}, got {device!r}")
    try:
        import torch  # noqa: PLC0415 - core works without it

        from sgurinit.core.steps._on_device import TorchProcessor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        if device == "auto":
            return NUMPY
        raise InputError(
            f"device is {device!r}, which needs torch: pip install 'sgurinit[train]', or set "
            "`device` to 'cpu'"
        ) from None
    n_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return TorchProcessor(torch.device("cuda")) if n_cards else NUMPY
    if int(number or 0) >= n_cards:
        there = ", ".join(["'cpu'", *(f"'cuda:{card}'" for card in range(n_cards))])
        raise InputError(f"device is {device!r}, which torch does not find here; it finds {there}")
    # Not by the name: torch refuses numbers that begin with 0.
    return TorchProcessor(torch.device("cuda", int(number)) if number else torch.device("cuda"))
