"""One seed in, one independent generator per consumer out.

Weights, batches, negatives, the model's own sampling, the initializer and K-means each draw from a
stream of their own. Two runs that differ in one consumer alone therefore see the same numbers
everywhere else, and a resumed epoch draws what it would have drawn without the interruption.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Seed of the stream that `names` stand for.

    Parameters
    ----------
    seed
        The run's seed, 0 or greater.
    names
        What the stream is for, for example ``("negatives", epoch)``.

    Returns
    -------
    int
        A number in [0, 2**32), the same on every platform and in every process.
    """
    key = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator of the stream that `names` stand for (see `derive`)."""
    return np.random.default_rng(derive(seed, *names))
