"""Where a result comes from: data, package versions, source revision and hardware."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from sgurinit.data import Dataset, summarize
from sgurinit.errors import InputError
from sgurinit.runtime import count_cores
from sgurinit.training import Machine

ENVIRONMENT_FILE = "environment.json"
PACKAGES = ("sgurinit", "torch", "lightning", "numpy", "scipy", "scikit-learn", "polars")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Revision(_Part):
    commit: str
    dirty: bool


class Environment(_Part):
    """What readers use of `describe_environment`."""

    versions: dict[str, str]
    git: _Revision | None
    cpu: str
    cores: int
    gpu: str | None = None


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


def count_runs_by_machine(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Count runs by the machine and the commit that they were made with, most runs first.

    Parameters
    ----------
    folders : iterable of Path
        Folders of runs, which may have been copied from other machines.

    Returns
    -------
    list of dict
        ``cpu``, ``cores``, ``gpu``, ``commit`` and ``runs``, for JSON.

    Raises
    ------
    InputError
        A run has no ``environment.json`` that can be read.
    """
    found: Counter[tuple[str, int, str | None, str | None]] = Counter()
    for folder in folders:
        made_with = _read_environment(folder / ENVIRONMENT_FILE)
        commit = None if made_with.git is None else made_with.git.commit
        found[made_with.cpu, made_with.cores, made_with.gpu, commit] += 1
    return [
        {"cpu": cpu, "cores": cores, "gpu": gpu, "commit": commit, "runs": runs}
        for (cpu, cores, gpu, commit), runs in found.most_common()
    ]


def _read_environment(path: Path) -> Environment:
    try:
        return Environment.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = str(error)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    raise InputError(
        f"{path}: expected the machine and the versions of the run ({reason}); remove result.json "
        "beside it to run it again"
    )


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
