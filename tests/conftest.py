"""Fixtures and markers that every test folder shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

try:
    import torch
except ModuleNotFoundError:  # most of tests/core and tests/data need none
    torch = None
else:
    # The tests' tables are small: starting threads would take longer than they save.
    torch.set_num_threads(1)

pytest.register_assert_rewrite("sgurinit.testing")

try:
    from hypothesis import settings
except ModuleNotFoundError:  # the environment of other frameworks has none
    pass
else:
    # Of `make check`; a test that states its own number of examples keeps it.
    settings.register_profile("fast", max_examples=20)

FRAMEWORKS = {
    "data/test_frameworks.py",
    "data/test_timm_encoder.py",
    "integrations/test_frameworks.py",
    "integrations/test_transformers.py",
}
# Of `sgurinit.testing`, which has no markers of this project.
SLOW_FOR_EVERY_RECOMMENDER = {"test_planted_tastes_are_found", "test_the_loss_falls"}
# Fixtures that train several models before the first test that asks for them.
TRAINED_BEFORE = {"comparison", "finished"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the markers that follow from a test's file or fixtures."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here).as_posix()
        if path.startswith("spark/"):
            item.add_marker("spark")
        if path in FRAMEWORKS:
            item.add_marker("frameworks")
        fixtures = set(getattr(item, "fixturenames", ()))
        if "data_root" in fixtures or "tiktok_case" in item.name:
            item.add_marker("data")
        name = getattr(item, "originalname", "")
        if name in SLOW_FOR_EVERY_RECOMMENDER or fixtures & TRAINED_BEFORE:
            item.add_marker("slow")


def pytest_runtest_setup() -> None:
    """Let no test depend on what others drew before it."""
    if torch is not None:
        torch.manual_seed(0)


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
        pytest.skip(f"no real data in {path}; set SGURINIT_DATA to the folder that holds them")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep graphs that the tests build out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGURINIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
