"""Products of dense tables by the fastest of torch's libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

MIN_ENTRIES = 2**17  # smaller tables take longer to convert than the product gains


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute ``x @ weight.T + bias``, as `torch.nn.functional.linear` does, at most as slowly.

    On CPUs, torch multiplies float32 by MKL, which uses AVX-512 on Intel only.
    On AMD, large tables are multiplied by oneDNN, torch's other library, up to three times as fast.
    The results agree up to rounding.

    Parameters
    ----------
    x : Tensor, shape (n, k)
        The table.
    weight : Tensor, shape (m, k)
        The weights.
    bias : Tensor, shape (m,), optional
        Added to each row.

    Returns
    -------
    Tensor, shape (n, m)
        The product.
    """
    if is_onednn_faster(x):
        # oneDNN reads the numbers of a bias as if they followed each other.
        bias = None if bias is None else bias.contiguous()
        return functional.linear(x.to_mkldnn(), weight, bias).to_dense()
    return functional.linear(x, weight, bias)


def prepare_product(table: Tensor) -> Callable[[Tensor], Tensor]:
    """Prepare a table ``(m, k)`` for many products: make the function ``x -> x @ table.T``.

    See `linear`. There is no gradient.
    """
    if is_onednn_faster(table):
        packed = table.detach().to_mkldnn()
        return lambda x: functional.linear(x.to_mkldnn(), packed).to_dense()
    transposed = table.detach().T.contiguous()
    return lambda x: x @ transposed


def is_onednn_faster(x: Tensor) -> bool:
    """Return whether oneDNN multiplies the table `x` faster than torch does by default."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() >= MIN_ENTRIES
        and not torch.is_autocast_enabled("cpu")
        and _has_slow_mkl()
    )


@cache
def _has_slow_mkl() -> bool:
    cpus = Path("/proc/cpuinfo")
    return (
        torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and cpus.is_file()
        and "AuthenticAMD" in cpus.read_text()
    )
