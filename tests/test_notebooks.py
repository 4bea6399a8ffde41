"""The notebooks run, show what is stored in them, and are pages of the site."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = ["practitioner", "researcher"]


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks", DOCS / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_none_is_left_out() -> None:
    assert sorted(path.stem for path in (DOCS / "notebooks").glob("*.ipynb")) == NAMES


def printed(notebook: Any) -> list[str]:
    """What each cell says."""
    cells = [cell.get("outputs", ()) for cell in notebook.cells]
    return ["".join(o.get("text") or o["data"]["text/plain"] for o in own) for own in cells]


def without_numbers(text: str) -> list[str]:
    """Words alone: numbers may differ between machines."""
    return [word for word in text.split() if not any(sign.isdigit() for sign in word)]


def run(name: str, notebooks: ModuleType, folder: Path) -> tuple[list[str], list[str]]:
    path = DOCS / "notebooks" / f"{name}.ipynb"
    return printed(notebooks.run(path, folder)), printed(nbformat.read(path, as_version=4))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_the_researchers_notebook_runs(notebooks: ModuleType, tmp_path: Path) -> None:
    shown, stored = run("researcher", notebooks, tmp_path)
    assert [without_numbers(text) for text in shown] == [without_numbers(text) for text in stored]
    assert (tmp_path / "comparison/report.html").is_file()
    curves = re.findall(r"^(random|sgurinit|permuted) +([\d. ]+)$", "\n".join(shown), re.MULTILINE)
    first = {arm: float(scores.split()[0]) for arm, scores in curves}
    assert first["sgurinit"] > 5 * max(first["random"], first["permuted"])


def test_the_practitioners_notebook_runs(notebooks: ModuleType, tmp_path: Path) -> None:
    shown, stored = run("practitioner", notebooks, tmp_path)
    assert [bool(text) for text in shown] == [bool(text) for text in stored]
    assert (tmp_path / "users.parquet").is_file()
    ours, popular = re.search(
        r"among ten: ([\d.]+); popular ten: ([\d.]+)", "\n".join(shown)
    ).groups()
    assert float(ours) > 1.5 * float(popular)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_the_text_the_code_and_what_it_printed(name: str, notebooks: ModuleType) -> None:
    stored = nbformat.read(DOCS / "notebooks" / f"{name}.ipynb", as_version=4)
    page = notebooks.page(DOCS / "notebooks" / f"{name}.ipynb")
    for cell in stored.cells:
        assert cell.source in page
        for output in cell.get("outputs", ()):
            assert output["output_type"] in {"stream", "execute_result"}
            said = output.get("text") or output["data"]["text/plain"]
            assert said.strip() in page
