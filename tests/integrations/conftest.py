"""Fixtures that the frameworks' tests share."""

from __future__ import annotations

import pytest

from sgurinit.core import SGURInit
from sgurinit.data import planted


@pytest.fixture(scope="session")
def data():
    return planted(90, 60, seed=1)


@pytest.fixture(scope="session")
def start(data):
    return SGURInit(n_clusters=4, random_state=0).fit(data).start_
