"""Independent random streams derived from one seed.

Weights, batches, negatives, the model's sampling, the initializer and K-means each have a separate
random stream. If two runs differ in one of these only, all others draw the same numbers. A resumed
epoch draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import numpy as np

from sgurinit.arguments import check_integer


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive the seed of a named random stream.

    Parameters
    ----------
    seed : int >= 0
        The run's seed.
    *names : str or int
        Name of the stream, for example ``"negatives", epoch``.

    Returns
    -------
    int
        Seed in [0, 2**32), the same on every platform and in every process.

    Raises
    ------
    InputError
        `seed` is not an integer of at least 0.

    See Also
    --------
    make_generator : A generator with this seed.

    Examples
    --------
    >>> derive_seed(0, "negatives", 3)
    434478877
    """
    key = "/".join(str(part) for part in (check_integer(seed, "seed", 0), *names))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")


def make_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Make the NumPy generator of a named random stream.

    Parameters
    ----------
    seed : int >= 0
        The run's seed.
    *names : str or int
        Name of the stream, for example ``"negatives", epoch``.

    Returns
    -------
    Generator

    Raises
    ------
    InputError
        `seed` is not an integer of at least 0.

    See Also
    --------
    derive_seed : The seed alone, for other libraries.

    Examples
    --------
    >>> int(make_generator(0, "points").integers(10)) in range(10)
    True
    """
    return np.random.default_rng(derive_seed(seed, *names))
