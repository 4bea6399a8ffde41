"""Work on several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from joblib import effective_n_jobs


@contextmanager
def thread_map(n_jobs: int | None) -> Iterator[Callable[..., Iterator[Any]]]:
    """Context manager: a ``map`` over `n_jobs` threads, as in scikit-learn.

    None is 1, -1 all cores. With one job the work stays in the calling thread. A new thread would
    begin with fresh memory, which the system clears first. For a small table that costs more than
    the work.
    """
    jobs = effective_n_jobs(n_jobs)
    if jobs == 1:
        yield map
    else:
        with ThreadPoolExecutor(jobs) as threads:
            yield threads.map
