"""Fixtures of the models' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sgurinit.data import Dataset
from sgurinit.models import Batch
from sgurinit.testing import make_small_dataset


@pytest.fixture
def dataset() -> Dataset:
    return make_small_dataset()


@pytest.fixture
def batch() -> Batch:
    # With repeats, because popular nodes occur several times in a real batch.
    return Batch(
        torch.tensor([0, 1, 1, 2, 0]), torch.tensor([3, 4, 3, 5, 7]), torch.tensor([6, 6, 8, 9, 3])
    )


@pytest.fixture
def empty_graph_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build every graph, instead of reading those that other tests have built."""
    monkeypatch.setenv("SGURINIT_CACHE", str(tmp_path))
