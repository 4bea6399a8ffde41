"""Every model is exported, found by name, cited, documented, tested, and lists its user tables."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sgurinit.models
from sgurinit.models import Recommender, RecommenderConfig, model_resolver
from sgurinit.testing import make_small_dataset

MODELS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "models.md"


def find_models() -> list[type[Recommender]]:
    """Find the concrete models in the files of the package, exported or not."""
    names = sorted(m.name for m in pkgutil.iter_modules(sgurinit.models.__path__))
    modules = [importlib.import_module(f"sgurinit.models.{name}") for name in names]
    return [
        thing
        for module in modules
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, Recommender)
        and thing.__module__ == module.__name__
        and not inspect.isabstract(thing)
    ]


def find_tested_models() -> set[str]:
    """Find the names that subclasses of `RecommenderTests` give as their `model_class`."""
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
                    and [t.id for t in line.targets if isinstance(t, ast.Name)] == ["model_class"]
                }
    return names


def is_cited(citation: str) -> bool:
    """Return whether a citation has authors, title and venue, and ends with a link."""
    return re.search(r"^[^,]+, [^,]+, .+, https://\S+$", citation) is not None


def find_undocumented_fields(config: type) -> list[str]:
    """Find the fields of a config that have no text, or are missing in its docstring."""
    return [
        name
        for name, field in config.model_fields.items()
        if not field.description or not re.search(rf"(?m)^{name} : .*default ", config.__doc__)
    ]


def find_faults(model_class: type[Recommender]) -> list[str]:
    """List what every model needs and this one lacks."""
    name = model_class.__name__
    config = model_class.Config
    checks = {
        "exported": name in sgurinit.models.__all__,
        "found by name": model_resolver.lookup_dict.get(name.lower()) is model_class,
        "in a file of its name": model_class.__module__.rpartition(".")[2] == name.lower(),
        "cited": is_cited(getattr(model_class, "citation", "")),
        "documented": bool((model_class.__doc__ or "").strip()),
        "with its own config": config is not Recommender.Config,
        "with documented fields": find_undocumented_fields(config) == [],
        "tested": name in find_tested_models(),
        "with user tables": bool(model_class(make_small_dataset()).user_tables()),
    }
    return [what for what, holds in checks.items() if not holds]


@pytest.mark.parametrize("model_class", find_models(), ids=lambda found: found.__name__)
def test_a_model_is_complete(model_class):
    assert find_faults(model_class) == []


def test_the_page_of_models_has_a_row_for_every_model():
    rows = re.findall(r"(?m)^\| `(\w+)` \|", MODELS_PAGE.read_text(encoding="utf-8"))
    names = {model_class.__name__.lower() for model_class in find_models()}
    assert names
    assert names <= set(rows)


def test_an_incomplete_model_is_noticed():
    class UnfinishedConfig(RecommenderConfig):
        depth: int = 1

    class Unfinished(Recommender):
        Config = UnfinishedConfig

        def embed(self):
            raise NotImplementedError

        def loss(self, batch):
            raise NotImplementedError

        def user_tables(self):
            return []

    assert find_faults(Unfinished) == [
        "exported", "found by name", "in a file of its name", "cited", "documented",
        "with documented fields", "tested", "with user tables",
    ]  # fmt: skip
