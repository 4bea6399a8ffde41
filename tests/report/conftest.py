"""One small comparison to report on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sgurinit.data import Dataset, planted
from sgurinit.experiments import Comparison, compare
from sgurinit.training import TrainSettings

NAME = "<script>alert(1)</script> & [bold]\x1b[31m\u202e"


@pytest.fixture(scope="session")
def data() -> Dataset:
    """Has a name that is markup in HTML and in rich, with escapes of terminals and text."""
    return replace(planted(120, 80, n_topics=6), name=NAME)


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Comparison:
    torch.set_num_threads(1)
    out: Path = tmp_path_factory.mktemp("report") / "<b>out"
    return compare(
        data,
        ["lightgcn", "vbpr"],
        ["random", "sgurinit", "permuted"],
        2,
        out=out,
        settings=TrainSettings(max_epochs=3, patience=2),
    )
