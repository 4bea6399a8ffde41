"""The code in the documents runs."""

from __future__ import annotations

import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
import typer
from torch import nn
from typer.testing import CliRunner

from sgurinit import SGURInit, load_dataset
from sgurinit.cli import app

ROOT = Path(__file__).resolve().parents[1]
INTEGRATIONS = 4  # run by tests/integrations/test_docs.py


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def names() -> dict[str, object]:
    """What the documents take as given."""
    data = load_dataset("planted")
    text = data.features["text"].values
    model = SimpleNamespace(
        user_embedding=nn.Embedding(data.n_users, 16),
        item_embedding=nn.Embedding(data.n_items, 16),
        user_text=nn.Embedding(data.n_users, 8),
        text_projection=nn.Linear(text.shape[1], 8),
    )
    return {
        "model": model,
        "start": SGURInit(random_state=0).fit(data).start_,
        "interactions": data.train_matrix(),
        "image": data.features["image"].values,
        "text": text,
        "item_vectors": np.random.default_rng(0).normal(size=(data.n_items, 8)),
        "text_tensor": torch.tensor(text),
    }


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_what_people_begin_with_runs_as_it_stands(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in blocks(name):
        names = {}
        exec(code, names)  # noqa: S102 - our own documents
        if "initialize_" in names:
            users = names["users"].weight.detach()
            assert torch.linalg.norm(users, dim=1).std() > 0.5  # rows of torch's have like norms


def test_the_readmes_example_prints_the_number_that_it_shows(capsys):
    (code,) = blocks("README.md")
    exec(code, {})  # noqa: S102 - our own documents
    (found,) = re.findall(r"untrained: (0\.\d+)", capsys.readouterr().out)
    (shown,) = re.findall(r"# (0\.\d+); random", code)
    assert float(found) == pytest.approx(float(shown), abs=0.002)


def test_the_page_on_the_method_has_the_table_of_parameters():
    path = ROOT / "docs" / "parameters.py"
    space = {"__file__": str(path), "__name__": "parameters"}
    exec(path.read_text(encoding="utf-8"), space)  # noqa: S102 - our own documents
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert space["page"](text) == text


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("docs/handover.md", 0),
        ("docs/models.md", 0),
        ("docs/scale.md", 0),
    ],
)
def test_python_blocks_run(name, position, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = names["model"].user_embedding.weight.detach().clone()
    exec(blocks(name)[position], names)  # noqa: S102 - our own documents
    filled = not torch.equal(before, names["model"].user_embedding.weight)
    assert filled == ("initialize_" in names)


def test_no_block_is_left_out():
    assert len(blocks("README.md")) == 1
    with_code = {
        "index.md": 2,
        "handover.md": 1,
        "models.md": 1,
        "scale.md": 1,
        "spark.md": 1,  # run by tests/spark/test_model.py
        "integrations.md": INTEGRATIONS,
    }
    for page in (ROOT / "docs").glob("*.md"):
        assert len(blocks(f"docs/{page.name}")) == with_code.get(page.name, 0)


WITH_EXAMPLES = [
    path
    for path in sorted((ROOT / "src" / "sgurinit").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8") and path.parent.name not in {"spark"}
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_docstrings_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    module = import_module(".".join(parts).removesuffix(".__init__"))
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def commands(name: str) -> list[list[str]]:
    """Words of every `sgurinit` command that a document shows, without its comment."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"^(?: {4}|\$ )sgurinit (.*)$", text, re.MULTILINE)
    return [shlex.split(re.split(r" \| | && ", line)[0], comments=True) for line in shown]


DOCUMENTS = ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if commands(name)])
def test_every_command_shown_is_one(name):
    """Parsed, not run: its options exist and have values of their kind."""
    root = typer.main.get_command(app)
    for words in commands(name):
        command, rest = root, list(words)
        with root.make_context("sgurinit", [], resilient_parsing=True) as context:
            while isinstance(command, typer.core.TyperGroup) and not rest[0].startswith("-"):
                command = command.commands[rest.pop(0)]
            if not rest or not rest[0].endswith("-completion"):
                command.make_context(command.name, rest, parent=context)


def test_the_readme_leads_from_parquet_files_to_starts_and_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    log = [(f"c{u}", f"p{i}") for u in range(30) for i in draw.choice(20, 8, replace=False)]
    pl.DataFrame(log, schema=["user", "item"], orient="row").write_parquet("log.parquet")
    items = [f"p{i}" for i in range(20)]
    pl.DataFrame({"item": items, "text": draw.normal(size=(20, 4))}).write_parquet("items.parquet")
    shown = [words for words in commands("README.md") if "text=items.parquet" in words]
    for words in (shown[0], next(words for words in shown if words[0] == "prepare")):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    assert pl.read_parquet("users/users/part-00000.parquet").columns == ["user", "text"]
    assert load_dataset("data").n_users == 30


def test_the_picture_is_what_its_script_draws():
    script = ROOT / "docs" / "picture.py"
    space = {"__file__": str(script), "__name__": "picture"}
    exec(script.read_text(encoding="utf-8"), space)  # noqa: S102 - our own documents
    assert (ROOT / "docs/images/method.svg").read_text(encoding="utf-8") == space["picture"]()


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
