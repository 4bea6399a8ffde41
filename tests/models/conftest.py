"""Small data sets for the models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sgurinit.core import ItemFeatures
from sgurinit.data import Dataset, Interactions


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """A function that makes a random data set of 30 users and 20 items.

    The last user and the last item have no interactions. `modalities` gives each one's width.
    """

    def make(
        modalities: dict[str, int] | None = None,
        *,
        absent: dict[str, list[int]] | None = None,
        seed: int = 0,
    ) -> Dataset:
        rng = np.random.default_rng(seed)
        pairs = np.argwhere(rng.random((29, 19)) < 0.3)
        split = rng.choice(3, size=len(pairs), p=[0.8, 0.1, 0.1])
        parts = [Interactions(*pairs[split == part].T) for part in range(3)]
        features = {}
        for name, width in (modalities or {"image": 6, "text": 4}).items():
            present = np.ones(20, dtype=bool)
            present[(absent or {}).get(name, [])] = False
            values = rng.normal(size=(20, width)).astype(np.float32)
            values[~present] = np.nan
            features[name] = ItemFeatures(values, None if present.all() else present)
        return Dataset(
            name="made",
            layout="made",
            train=parts[0],
            valid=parts[1],
            test=parts[2],
            features=features,
            user_ids=np.array([f"u{n}" for n in range(30)]),
            item_ids=np.array([f"i{n}" for n in range(20)]),
        )

    return make
