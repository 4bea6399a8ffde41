"""Every model is exported, found by name, cited, tested, and says where its users live."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import sgurinit.models
from sgurinit.models import Recommender, models
from sgurinit.testing import small_dataset


def every_model() -> list[type[Recommender]]:
    """Concrete models in any file of the zoo, whether or not somebody imports it."""
    names = sorted(m.name for m in pkgutil.iter_modules(sgurinit.models.__path__))
    modules = [importlib.import_module(f"sgurinit.models.{name}") for name in names]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind)
        and issubclass(kind, Recommender)
        and kind.__module__ == module.__name__
        and not inspect.isabstract(kind)
    ]


def models_with_tests() -> set[str]:
    """Names that a test class with the public base gives as its `kind`."""
    names = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef) or not node.name.startswith("Test"):
                continue
            if "RecommenderTests" in {base.id for base in node.bases if isinstance(base, ast.Name)}:
                names |= {
                    line.value.id
                    for line in node.body
                    if isinstance(line, ast.Assign)
                    and isinstance(line.value, ast.Name)
                    and [t.id for t in line.targets if isinstance(t, ast.Name)] == ["kind"]
                }
    return names


def faults(kind: type[Recommender]) -> list[str]:
    """What the zoo asks of a model and this one lacks."""
    name = kind.__name__
    built = kind(small_dataset())
    checks = {
        "exported": name in sgurinit.models.__all__,
        "found by name": models.lookup_dict.get(name.lower()) is kind,
        "in a file of its name": kind.__module__.rpartition(".")[2] == name.lower(),
        "cited": "https://" in getattr(kind, "citation", ""),
        "documented": bool((kind.__doc__ or "").strip()),
        "tested": name in models_with_tests(),
        "with user tables": bool(built.user_tables()),
    }
    return [what for what, holds in checks.items() if not holds]


@pytest.mark.parametrize("kind", every_model(), ids=lambda kind: kind.__name__)
def test_nothing_is_missing(kind):
    assert faults(kind) == []


def test_the_fifteen_are_there():
    assert {kind.__name__ for kind in every_model()} >= {
        "BM3", "BPRMF", "DRAGON", "DualGNN", "FREEDOM", "GRCN", "LATTICE", "LGMRec", "LightGCN",
        "MENTOR", "MGCN", "MMGCN", "SLMRec", "SMORE", "VBPR",
    }  # fmt: skip


def test_a_model_that_lacks_everything_is_noticed():
    class Unfinished(Recommender):
        def embed(self):
            raise NotImplementedError

        def loss(self, batch):
            raise NotImplementedError

        def user_tables(self):
            return []

    assert faults(Unfinished) == [
        "exported", "found by name", "in a file of its name", "cited", "documented", "tested",
        "with user tables",
    ]  # fmt: skip
