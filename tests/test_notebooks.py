"""The notebooks run, show what is stored in them, and are pages of the site."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.notebook

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks", DOCS / "tools/notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def printed(notebook: Any) -> list[str]:
    """The output of each cell."""
    cells = [cell.get("outputs", ()) for cell in notebook.cells]
    return ["".join(o.get("text") or o["data"]["text/plain"] for o in own) for own in cells]


def words(text: str) -> list[str]:
    """Words without numbers, which may differ between machines."""
    return [word for word in text.split() if not any(sign.isdigit() for sign in word)]


def run(name: str, tool: ModuleType, folder: Path) -> tuple[list[str], list[str]]:
    """Output of a fresh run and the stored output, by cell."""
    path = DOCS / "tutorials" / f"{name}.ipynb"
    return printed(tool.run(path, folder)), printed(nbformat.read(path, as_version=4))


@pytest.mark.notebook
def test_the_notebook_for_researchers_runs(tool: ModuleType, tmp_path: Path) -> None:
    shown, stored = run("researcher", tool, tmp_path)
    assert [words(text) for text in shown] == [words(text) for text in stored]
    assert (tmp_path / "comparison/report.html").is_file()
    curves = re.findall(r"^(random|sgurinit|permuted) +([\d. ]+)$", "\n".join(shown), re.MULTILINE)
    first = {arm: float(scores.split()[0]) for arm, scores in curves}
    assert first["sgurinit"] > max(first["random"], first["permuted"])


@pytest.mark.notebook
def test_the_notebook_for_practitioners_runs(tool: ModuleType, tmp_path: Path) -> None:
    shown, stored = run("practitioner", tool, tmp_path)
    assert [bool(text) for text in shown] == [bool(text) for text in stored]
    assert (tmp_path / "users.parquet").is_file()
    scores = re.search(r"ours: ([\d.]+), popularity: ([\d.]+)", "\n".join(shown))
    assert scores is not None
    ours, popularity = map(float, scores.groups())
    assert ours > popularity


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_the_text_the_code_and_what_it_printed(path: Path, tool: ModuleType) -> None:
    page = tool.page(path)
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.source in page
        for output in cell.get("outputs", ()):
            assert output["output_type"] in {"stream", "execute_result"}
            shown = output.get("text") or output["data"]["text/plain"]
            assert shown.strip() in page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_fits_the_column(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not [line for cell in cells for line in cell.source.splitlines() if len(line) > 84]
