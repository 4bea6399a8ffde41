"""The documents' tables are those of the studies' files, and the studies those of theirs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from sgurinit.experiments.study import Study

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("tables", ROOT / "studies" / "tables.py")
assert SPEC is not None
assert SPEC.loader is not None
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.name)
def test_tables_are_those_of_the_studies(document):
    text = document.read_text(encoding="utf-8")
    assert tables.MARK.search(text), "no mark: nothing in this document comes from a study"
    assert tables.filled(text) == text, "run: python studies/tables.py"


@pytest.mark.parametrize(
    "results", sorted((ROOT / "studies").glob("*/settings.json")), ids=lambda path: path.parent.name
)
def test_a_file_still_describes_its_results(results):
    file = results.parent.with_suffix(".yaml")
    if not file.exists():
        pytest.skip("made by `sgurinit compare`, without a file")
    if not (file.parent / yaml.safe_load(file.read_text())["data"]["path"]).exists():
        pytest.skip("its data are not there")
    kept = json.loads(results.read_text())
    del kept["data"]
    assert Study.read(file).plan.model_dump(mode="json") == kept


def test_a_figure_changed_by_hand_is_noticed():
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    table = tables.MARK.search(text)[0]
    forged = text.replace(table, table.replace("0.0", "0.1", 1))
    assert forged != text
    assert tables.filled(forged) == text
