"""The examples of the page on other frameworks run, if their framework is installed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/frameworks.md"
EXAMPLES = dict(
    re.findall(
        r"^## ([^\n]*)\n(?:(?!^## ).)*?```python\n(.*?)```",
        PAGE.read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
NEEDS = {"Lightning": "lightning", "Hugging Face": "accelerate"}


def test_every_example_is_run():
    assert len(EXAMPLES) == PAGE.read_text("utf-8").count("```python")
    assert EXAMPLES.keys() == NEEDS.keys()


@pytest.mark.parametrize("title", NEEDS)
def test_an_example_runs(title, tmp_path, monkeypatch):
    if find_spec(NEEDS[title]) is None:
        pytest.skip(f"{NEEDS[title]} is not installed; `make frameworks` installs it")
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[title], {"__name__": "example"})  # noqa: S102 - our own document
