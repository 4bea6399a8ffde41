"""The example of a new model in CONTRIBUTING works as it is written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project_with_new_model(tmp_path: Path) -> Path:
    """Copy the project and follow the steps of CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a model")[2].partition("\n## ")[0]
    model, line, test = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=skip)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src/sgurinit/models/tastemf.py").write_text(model)
    (tmp_path / "tests/models/test_tastemf.py").write_text(test)
    registry = tmp_path / "src/sgurinit/models/__init__.py"
    code = registry.read_text()
    code = code.replace("from sgurinit.models.vbpr", line + "from sgurinit.models.vbpr")
    registry.write_text(code.replace('    "UserTable",', '    "TasteMF",\n    "UserTable",'))
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_new_model_needs_one_file_one_line_and_one_test(project_with_new_model):
    files = ["tests/models/test_tastemf.py", "tests/models/test_zoo.py"]
    done = run(project_with_new_model, "pytest", "-v", *files, "-k", "tastemf")
    assert done.returncode == 0, done.stdout
    assert all(f"{file}::" in done.stdout for file in files)  # some tests of each
    done = run(
        project_with_new_model,
        "sgurinit", "compare", "planted", "--models", "tastemf", "--seeds", "1",
        "--set", "train.max_epochs=2", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tastemf" in (project_with_new_model / "out/results.csv").read_text()


def test_the_example_has_the_projects_style(project_with_new_model):
    files = ["src/sgurinit/models/tastemf.py", "tests/models/test_tastemf.py"]
    done = run(project_with_new_model, "ruff", "check", *files)
    assert done.returncode == 0, done.stdout
