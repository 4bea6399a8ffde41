"""Run those trainings of a grid that are missing in its results file."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import polars as pl

Row = dict[str, Any]


def measure_missing(
    out: Path,
    key: Sequence[str],
    wanted: Iterable[tuple[Any, ...]],
    measure: Callable[..., list[Row]],
    *given: Any,
    jobs: int,
) -> None:
    """Add the rows of every run in `wanted`, values of the columns `key`, that `out` lacks.

    `measure` is called in its own process, with what is `given` and the run's values. The file
    is written after each run, so that a command that was stopped resumes.
    """
    rows = pl.read_csv(out).to_dicts() if out.exists() else []
    done = {tuple(row[name] for name in key) for row in rows}
    out.parent.mkdir(exist_ok=True)
    # A forked process would inherit the locks of polars' threads, and wait for them for ever.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned) as pool:
        running = [pool.submit(measure, *given, *run) for run in wanted if run not in done]
        for finished in as_completed(running):
            own = finished.result()
            print(own[-1], flush=True)
            rows += own
            pl.DataFrame(rows).sort(pl.all()).write_csv(out)
