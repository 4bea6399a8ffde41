"""Measurements in separate processes (Linux)."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def run_in_process(script: str | Path, *arguments: str, threads: int) -> dict[str, Any]:
    """Run a Python script in a separate process and read the JSON in its last line of output.

    Parameters
    ----------
    script : path
        The script.
    *arguments : str
        Its arguments.
    threads : int
        Threads of NumPy and torch.

    Raises
    ------
    SystemExit
        When the script fails; the message ends with its errors.
    """
    done = subprocess.run(  # noqa: S603 - scripts of this folder
        [sys.executable, "-W", "ignore", str(script), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


@contextmanager
def take_turn(lock: Path | None, device: str) -> Iterator[None]:
    """Context manager: one process at a time is inside, of those that name the same file.

    Parameters
    ----------
    lock : Path or None
        The file. None: this process waits for no other.
    device : str
        ``"cpu"`` or ``"cuda"``, which is made ready before the turn.
    """
    if device == "cuda":
        import torch  # noqa: PLC0415 - other benchmarks measure processes without it

        torch.zeros(1, device=device)
    if lock is None:
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_peak_bytes() -> int:
    """Return the highest memory of this process so far.

    The value of `getrusage` does not help here. It begins with the memory of the process that
    started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(found) * 1024


def parse_sizes(text: str) -> list[int]:
    """Parse sizes as in ``1e6,3e7``."""
    return [int(float(word)) for word in text.split(",")]
