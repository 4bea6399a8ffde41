"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.register_assert_rewrite("sgurinit.testing")

# The tests' tables are small: what threads would gain goes into starting them, tenfold.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real development data sets, which are not part of the project."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(os.environ.get("SGURINIT_DATA", default))


@pytest.fixture(scope="session")
def tiktok_path(data_root: Path) -> Path:
    """TikTok in the HKUDS layout; tests that need it are skipped where it is absent."""
    path = data_root / "tiktok"
    if not path.is_dir():
        pytest.skip(f"real data absent: {path}; SGURINIT_DATA may name the folder that holds it")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep graphs that the tests build out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGURINIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
