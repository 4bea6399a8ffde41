"""The code in the documents runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sgurinit import SGURInit, load

ROOT = Path(__file__).resolve().parents[1]
INTEGRATIONS = 3  # run by tests/integrations/test_docs.py


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def names() -> dict[str, object]:
    """What the documents take as given."""
    data = load("planted")
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
        "text_vectors": np.random.default_rng(0).normal(size=(3, 4)),
    }


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("README.md", 0),
        ("README.md", 1),
        ("docs/index.md", 0),
        ("docs/index.md", 1),
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
    assert len(blocks("README.md")) == 2
    with_code = {
        "index.md": 2,
        "handover.md": 1,
        "models.md": 1,
        "scale.md": 1,
        "integrations.md": INTEGRATIONS,
    }
    for page in (ROOT / "docs").glob("*.md"):
        assert len(blocks(f"docs/{page.name}")) == with_code.get(page.name, 0)


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
