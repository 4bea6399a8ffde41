"""The package as a whole: its names, its light core, its words."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest

import sgurinit
from sgurinit import core

ROOT = Path(__file__).resolve().parents[1]

# Stands in for an environment without the extra: what only the extra brings cannot be imported.
WITHOUT_EXTRA = """
import sys

EXTRA = {"torch", "lightning", "plotly", "filelock", "class_resolver", "platformdirs"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRA:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run_without_extra(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA + code], capture_output=True, text=True, check=False
    )


def test_every_public_name_is_there_and_listed():
    for name in sgurinit.__all__:
        assert hasattr(sgurinit, name)
    assert {*sgurinit.__all__, "__version__"} <= set(dir(sgurinit))
    assert {*core.__all__} <= set(dir(core))
    for module in (sgurinit, core):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = module.nothing


def test_the_version_is_that_of_the_distribution():
    assert sgurinit.__version__ == version("sgurinit")


def test_a_fit_loads_numpy_scipy_and_scikit_learn_alone():
    code = """
import sys
import numpy as np
from sgurinit.core import SGURInit, UserStart
start = SGURInit(n_clusters=2, joint_dim=2, random_state=0).fit(
    np.array([[0, 0], [1, 1]]), {"text": np.eye(2)}
).start_
assert start.diagnostics
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"polars", "safetensors", "torch", "pydantic"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_reprs_are_a_few_lines_without_matrices():
    data = sgurinit.load_dataset("planted")
    start = sgurinit.SGURInit(joint_dim=8, local_norm="sym", random_state=0).fit(data).start_
    assert repr(data).splitlines() == [
        "Dataset('planted', 2,000 users, 1,000 items)",
        f"  interactions: train {len(data.train):,}, valid {len(data.valid):,}, "
        f"test {len(data.test):,}",
        "  features: image 64-d, text 32-d",
    ]
    assert repr(start).splitlines() == [
        "UserStart(2,000 users, 1,000 items)",
        "  tables: image 64-d, text 32-d, joint 8-d",
        "  parameters: local_norm='sym'",
    ]
    for part in (start.joint(8), start.clusters["text"], data.train, data.features["text"]):
        assert len(repr(part).splitlines()) == 1


def test_core_and_data_work_without_the_extra(tmp_path):
    done = run_without_extra(
        f"""
from sgurinit import SGURInit, load_dataset
start = SGURInit(joint_dim=16, random_state=0).fit(load_dataset("planted")).start_
start.save({str(tmp_path / "start.safetensors")!r})
start.save({str(tmp_path / "users.parquet")!r})
assert "torch" not in sys.modules
"""
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"start.safetensors", "users.parquet"}


def test_a_missing_extra_names_what_to_install():
    done = run_without_extra("import sgurinit; sgurinit.train")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: sgurinit.train needs ")
    assert last.endswith("which is not installed: pip install 'sgurinit[train]'")


def test_torch_is_no_dependency_of_the_bare_package():
    plain = [line for line in requires("sgurinit") or [] if "extra ==" not in line]
    assert plain
    assert not any(line.startswith(("torch", "lightning")) for line in plain)


ROOMS = [
    "errors", "runtime", "files", "core", "spark", "seeds", "data", "evaluation", "models",
    "handover", "arms", "resolve", "training", "testing", "experiments", "report",
    "integrations", "cli", "__main__",
]  # fmt: skip


def imported_rooms(file: Path) -> set[str]:
    """Rooms that a module imports, wherever in it and however spelled."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "sgurinit" and len(part) > 1} & set(ROOMS)


def test_rooms_import_only_what_lies_before_them():
    source = ROOT / "src" / "sgurinit"
    on_disk = {path.stem for path in source.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert on_disk - {"__init__", "__pycache__", "py"} == set(ROOMS)
    for position, room in enumerate(ROOMS):
        files = [source / f"{room}.py"] if (source / f"{room}.py").is_file() else []
        for file in files or sorted((source / room).rglob("*.py")):
            later = imported_rooms(file) & set(ROOMS[position + 1 :])
            assert not later, f"{file} imports {later}"


def test_every_dependency_is_pinned_exactly():
    lines = [
        line
        for name in ("constraints.txt", "frameworks.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line for line in pins)
    names = {line.partition("==")[0].lower().replace("_", "-") for line in pins}
    for line in requires("sgurinit") or []:
        name = line.split(";")[0].split("[")[0].strip()
        for mark in "<>=!~ ":
            name = name.partition(mark)[0]
        assert name.lower().replace("_", "-") in names | {"sgurinit"}, line


def test_the_version_is_in_the_changelog():
    assert f"## {version('sgurinit')}" in (ROOT / "CHANGELOG.md").read_text()
