"""Work on several parts at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from joblib import effective_n_jobs


@contextmanager
def mapping(n_jobs: int | None) -> Iterator[Callable[..., Iterator[Any]]]:
    """Give a ``map`` over as many threads, as in scikit-learn: None is 1, -1 all cores.

    One job stays in the thread that asks: another would begin with fresh memory, whose pages the
    system clears first, which costs more than the work on a small table.
    """
    jobs = effective_n_jobs(n_jobs)
    if jobs == 1:
        yield map
    else:
        with ThreadPoolExecutor(jobs) as threads:
            yield threads.map
