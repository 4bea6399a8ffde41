"""Small random data sets for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sgurinit.core import ItemFeatures
from sgurinit.data import Dataset, Interactions


def small_dataset(
    modalities: Mapping[str, int] | None = None,
    *,
    absent: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Dataset:
    """Random interactions of 30 users with 20 items, 8:1:1, and random features.

    The last user and the last item have no interactions.

    Parameters
    ----------
    modalities
        Width of each modality; by default an image of 6 and a text of 4.
    absent
        Items without a row in a modality.
    seed
        Of everything random.
    """
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(rng.random((29, 19)) < 0.3)
    split = rng.choice(3, size=len(pairs), p=[0.8, 0.1, 0.1])
    parts = [Interactions(*pairs[split == part].T) for part in range(3)]
    features = {}
    for name, width in (modalities or {"image": 6, "text": 4}).items():
        present = np.ones(20, dtype=bool)
        present[list((absent or {}).get(name, []))] = False
        values = rng.normal(size=(20, width)).astype(np.float32)
        values[~present] = np.nan
        features[name] = ItemFeatures(values, None if present.all() else present)
    return Dataset(
        name="small",
        layout="made",
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        features=features,
        user_ids=np.array([f"u{n}" for n in range(30)]),
        item_ids=np.array([f"i{n}" for n in range(20)]),
    )
