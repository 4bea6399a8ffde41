"""Every model is exported, found by name, cited, documented, tested, and lists its user tables."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import pickle
import pkgutil
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sgurinit.models
from sgurinit.core import ItemFeatures
from sgurinit.models import BPRMF, Recommender, RecommenderConfig, model_resolver
from sgurinit.testing import make_small_dataset
from sgurinit.training.sampler import TripleSampler

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


class FindTensors(pickle.Pickler):
    """Finds the tensors of an object, wherever it holds them."""

    def __init__(self):
        super().__init__(io.BytesIO())
        self.found = []

    def persistent_id(self, thing):
        if isinstance(thing, torch.Tensor):
            self.found.append(thing)
            return "a tensor"
        return None


@pytest.mark.parametrize("model_class", find_models(), ids=lambda found: found.__name__)
def test_a_model_that_moves_leaves_no_tensor_behind(model_class):
    dataset = make_small_dataset()
    model = model_class(dataset, model_class.Config(width=4))
    model.begin_epoch(0)
    model.loss(TripleSampler(dataset, 64, seed=0).epoch(0)[0])
    model.begin_epoch(1)
    model.to("meta")
    finder = FindTensors()
    finder.dump(model)
    assert {tensor.device.type for tensor in finder.found} == {"meta"}


@pytest.mark.parametrize("model_class", find_models(), ids=lambda found: found.__name__)
def test_a_model_computes_in_double_precision(model_class):
    dataset = make_small_dataset()
    model = model_class(dataset, model_class.Config(width=4)).double()
    model.begin_epoch(0)
    loss = model.loss(TripleSampler(dataset, 64, seed=0).epoch(0)[0])
    loss.backward()
    assert loss.dtype == model.make_scorer()(torch.arange(3)).dtype == torch.float64


@pytest.mark.parametrize("model_class", find_models(), ids=lambda found: found.__name__)
def test_scores_have_no_gradient(model_class):
    score = model_class(make_small_dataset(), model_class.Config(width=4)).make_scorer()
    assert not score(torch.arange(3)).requires_grad


@pytest.mark.parametrize("model_class", find_models(), ids=lambda found: found.__name__)
def test_a_modality_of_zeros_is_no_obstacle(model_class):
    dataset = make_small_dataset()
    zeros = ItemFeatures(np.zeros((dataset.n_items, 3), np.float32))
    dataset = replace(dataset, features={**dataset.features, "image": zeros})
    model = model_class(dataset, model_class.Config(width=4))
    model.begin_epoch(0)
    loss = model.loss(TripleSampler(dataset, 64, seed=0).epoch(0)[0])
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.make_scorer()(torch.arange(dataset.n_users)).isfinite().all()


def test_the_page_of_models_has_a_row_for_every_model():
    rows = re.findall(r"(?m)^\| `(\w+)` \|", MODELS_PAGE.read_text(encoding="utf-8"))
    names = {model_class.__name__.lower() for model_class in find_models()}
    assert names
    assert names <= set(rows)


def test_annotations_for_type_checkers_alone_are_not_read():
    class Annotated(BPRMF):
        config: RecommenderConfig
        other: NotImported  # noqa: F821

    assert Annotated.Config is RecommenderConfig
    assert Annotated(make_small_dataset()).config == RecommenderConfig()


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
