"""The examples of the page on other people's models run, where their framework is there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"
SECTIONS = dict(
    re.findall(
        r"^## ([^\n]*)\n(?:(?!^## ).)*?```python\n(.*?)```",
        PAGE.read_text("utf-8"),
        re.DOTALL | re.M,
    )
)
NEEDS = {
    "Any torch module": "torch",
    "Lightning": "lightning",
    "Hugging Face": "accelerate",
    "Vector stores": "faiss",
}


def test_every_example_is_run():
    text = PAGE.read_text("utf-8")
    assert list(SECTIONS) == list(NEEDS)
    assert text.count("```python") == len(SECTIONS)


@pytest.mark.parametrize("title", NEEDS)
def test_an_example_runs(title, tmp_path, monkeypatch):
    if find_spec(NEEDS[title]) is None:
        pytest.skip(f"{NEEDS[title]} is not installed; `make frameworks` has it")
    monkeypatch.chdir(tmp_path)
    exec(SECTIONS[title], {"__name__": "example"})  # noqa: S102 - our own document
