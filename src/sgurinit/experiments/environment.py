"""With what a result was made: versions, source revision, hardware."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sgurinit.runtime import available_cores

PACKAGES = ("sgurinit", "torch", "lightning", "numpy", "scipy", "scikit-learn", "polars")


def environment() -> dict[str, Any]:
    """Versions, git revision of the source, processor, cores and threads, ready for JSON."""
    return {
        "versions": versions(),
        "git": source_revision(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Version of Python and of each package that numbers can depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from the source tree, not installed
            found[name] = "unknown"
    return found


@cache
def source_revision() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether files differ from it.

    None where the package is no checkout, where git is missing or where it refuses (a checkout of
    another owner).
    """
    package = Path(__file__).parents[1]
    # Without this an enclosing, unrelated repository would be named.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words only
            command, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
