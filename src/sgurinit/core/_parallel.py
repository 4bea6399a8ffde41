"""Work on several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from sgurinit.errors import InputError


@contextmanager
def thread_map(n_jobs: int | None) -> Iterator[Callable[..., Iterator[Any]]]:
    """Context manager: a ``map`` over `n_jobs` threads, as in scikit-learn.

    None is 1, -1 all cores. With one job the work stays in the calling thread. A new thread would
    begin with fresh memory, which the system clears first. For a small table that costs more than
    the work.

    Raises
    ------
    InputError
        `n_jobs` is not such a number.
    """
    jobs = count_threads(n_jobs)
    if jobs == 1:
        yield map
    else:
        with ThreadPoolExecutor(jobs) as threads:
            yield threads.map


def count_threads(n_jobs: int | None) -> int:
    """Return how many threads `n_jobs` stands for, as in scikit-learn: None is 1, -1 all cores.

    Raises
    ------
    InputError
        `n_jobs` is not such a number.
    """
    whole = isinstance(n_jobs, int | np.integer) and not isinstance(n_jobs, bool)
    if n_jobs is not None and (not whole or n_jobs == 0):
        raise InputError(f"n_jobs is {n_jobs!r}, expected None or an integer other than 0")
    return int(effective_n_jobs(n_jobs))
