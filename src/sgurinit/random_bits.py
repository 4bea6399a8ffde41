"""Random numbers that are a function of a key and a counter, equal on every device.

Philox 4x32-10 of Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011). A generator
with a state gives other numbers on a CPU than on an accelerator, and only one after the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 10
_FACTORS = (0xD2511F53, 0xCD9E8D57)
_STEPS = (0x9E3779B9, 0xBB67AE85)  # from the golden ratio and the root of 3
_MASK = 0xFFFFFFFF


def draw_bits(key: tuple[int, int], counters: tuple[Tensor | int, ...]) -> list[Tensor]:
    """Draw four words of 32 random bits per counter.

    Parameters
    ----------
    key : tuple of int
        Two words in [0, 2**32): the random stream.
    counters : tuple of Tensor of int64 or int
        Four words in [0, 2**32) that broadcast, at least one of them a tensor.

    Returns
    -------
    list of Tensor of int64
        Four tensors of words in [0, 2**32).

    Examples
    --------
    >>> import torch
    >>> words = draw_bits((0, 0), (torch.tensor([0]), 0, 0, 0))
    >>> [hex(word) for word in torch.cat(words).tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    device = next(c.device for c in counters if isinstance(c, Tensor))
    words = list(torch.broadcast_tensors(*(torch.as_tensor(c, device=device) for c in counters)))
    keys = list(key)
    for _ in range(_ROUNDS):
        # The product wraps around beyond 63 bits, which leaves the 64 bits as they should be.
        first, third = words[0] * _FACTORS[0], words[2] * _FACTORS[1]
        words = [
            ((third >> 32) & _MASK) ^ words[1] ^ keys[0],
            third & _MASK,
            ((first >> 32) & _MASK) ^ words[3] ^ keys[1],
            first & _MASK,
        ]
        keys = [(k + step) & _MASK for k, step in zip(keys, _STEPS, strict=True)]
    return words


def draw_uniform(key: tuple[int, int], places: Tensor) -> Tensor:
    """Draw a number above 0 and below 1 for each place, uniformly, in steps of ``2**-52``.

    Parameters
    ----------
    key : tuple of int
        Two words in [0, 2**32): the random stream.
    places : Tensor of int64
        Places in the stream, in [0, 2**32).

    Returns
    -------
    Tensor of float64
        One number per place.

    Examples
    --------
    >>> import torch
    >>> draw_uniform((0, 0), torch.arange(3))
    tensor([0.3990, 0.9722, 0.0194], dtype=torch.float64)
    """
    high, low, _, _ = draw_bits(key, (places, 0, 0, 0))
    return (((high << 20) | (low >> 12)).double() + 0.5) * 2.0**-52
