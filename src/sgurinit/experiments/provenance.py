"""Where a result comes from: data, package versions, source revision and hardware."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sgurinit.data import Dataset, summarize
from sgurinit.runtime import count_cores
from sgurinit.training import Machine

PACKAGES = ("sgurinit", "torch", "lightning", "numpy", "scipy", "scikit-learn", "polars")


def describe_data(dataset: Dataset, source: str | Path | None) -> dict[str, Any]:
    """Summarize the data for JSON, with `source`, the path or name that they were loaded from."""
    return {"source": None if source is None else str(source), **summarize(dataset).to_dict()}


def describe_environment(machine: Machine) -> dict[str, Any]:
    """Collect versions, git revision, processor, cores, threads and devices for JSON.

    The devices are those of a run. Runs of a comparison may each have one of several.
    """
    devices = machine.list_devices()
    cards = {torch.cuda.get_device_name(device) for device in devices if device.type == "cuda"}
    return {
        "versions": package_versions(),
        "git": source_revision(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": count_cores(),
        "threads": torch.get_num_threads(),
        "devices": [str(device) for device in devices],
        "gpu": ", ".join(sorted(cards)) or None,
    }


def package_versions() -> dict[str, str]:
    """Look up the version of Python and of each package that results can depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from the source tree, not installed
            found[name] = "unknown"
    return found


@cache
def source_revision() -> dict[str, Any] | None:
    """Find the commit that this package runs from, and whether its files have been changed.

    Returns
    -------
    dict or None
        ``commit`` and ``dirty``. None if the package is not in a git checkout, if git is missing,
        or if git refuses because the checkout belongs to another user.
    """
    package = Path(__file__).parents[1]
    # Otherwise the revision of an enclosing, unrelated repository would be reported.
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
        done = subprocess.run(  # noqa: S603 - all arguments are fixed
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
