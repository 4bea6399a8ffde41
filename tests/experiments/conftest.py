"""One small comparison that is run once and read by many tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sgurinit.data import Dataset, planted
from sgurinit.experiments import Comparison, compare
from sgurinit.training import TrainSettings


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tables this small are slower on many threads, and tests share the machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small() -> Dataset:
    return planted(120, 80, n_topics=6)


@pytest.fixture(scope="session")
def brief() -> TrainSettings:
    return TrainSettings(max_epochs=3, patience=2)


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, small: Dataset, brief: TrainSettings
) -> Comparison:
    out: Path = tmp_path_factory.mktemp("comparison") / "out"
    arms = ["random", "sgurinit", "permuted"]
    return compare(small, ["lightgcn", "vbpr"], arms, 2, out=out, settings=brief)
