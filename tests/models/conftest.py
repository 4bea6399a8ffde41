"""A small data set and a batch for the models' equations."""

from __future__ import annotations

import pytest
import torch

from sgurinit.data import Dataset
from sgurinit.models import Batch
from sgurinit.testing import small_dataset


@pytest.fixture
def dataset() -> Dataset:
    return small_dataset()


@pytest.fixture
def batch() -> Batch:
    # With repeats: popular nodes come several times in a real batch.
    return Batch(
        torch.tensor([0, 1, 1, 2, 0]), torch.tensor([3, 4, 3, 5, 7]), torch.tensor([6, 6, 8, 9, 3])
    )
