"""Small random data sets for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sgurinit.core import ItemFeatures
from sgurinit.data import Dataset, Interactions


def make_small_dataset(
    modalities: Mapping[str, int] | None = None,
    *,
    absent: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Dataset:
    """Make a data set of random interactions of 30 users with 20 items, and random features.

    The splits are about 8:1:1. The last user and the last item have no interactions.

    Parameters
    ----------
    modalities : mapping of str to int, optional
        Width of each modality; if None, an image of width 6 and a text of width 4.
    absent : mapping of str to sequence of int, optional
        Positions of the items that have no row in a modality.
    seed : int, default 0
        Seed of everything random.

    Returns
    -------
    Dataset
        The data set.

    See Also
    --------
    sgurinit.data.planted : Larger data with tastes that a model can find.

    Examples
    --------
    >>> dataset = make_small_dataset({"text": 5}, absent={"text": [3]})
    >>> dataset.n_users, dataset.n_items, list(dataset.features)
    (30, 20, ['text'])
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
