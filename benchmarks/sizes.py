"""Generated data sets of the sizes at which training is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.core import ItemFeatures
from sgurinit.data import Dataset, Interactions, write_native

_Positions = NDArray[np.int64]

_LEAST = 3  # interactions of a user: one per split
_SPREAD = 1.0  # of the users' numbers of interactions, on the log scale
_HELD_OUT = 0.1  # share of a user's interactions in validation, and again in test
_EXPONENT = 0.8  # of the items' popularity by rank
_TOPICS = 20  # centers of the features


@dataclass(frozen=True)
class Size:
    """How large a data set is, and what is measured on it.

    Attributes
    ----------
    n_users, n_items, n_interactions : int
        Counts; the interactions are those of all splits.
    widths : mapping of str to int
        Columns of each modality's features.
    models : tuple of str
        Models that are measured unless others are named.
    with_toolkit : bool
        Whether the toolkit is measured too. It ranks users in a loop of Python and compares all
        items in one matrix, so a million users take it hours.
    """

    n_users: int
    n_items: int
    n_interactions: int
    widths: Mapping[str, int]
    models: tuple[str, ...] = ("bprmf", "lightgcn", "vbpr", "freedom")
    with_toolkit: bool = True


SIZES = {
    "baby": Size(19_445, 7_050, 160_792, {"image": 4096, "text": 384}),
    "million": Size(1_000_000, 200_000, 10_000_000, {"text": 64}, with_toolkit=False),
}


def make_dataset(name: str, size: Size, seed: int = 0) -> Dataset:
    """Make interactions with long tails, split 8:1:1 per user, and features around centers.

    Time and memory grow with the interactions, not with users x items.

    Parameters
    ----------
    name : str
        Name of the data set.
    size : Size
        Its size. There must be at least three interactions per user.
    seed : int, default 0
        Seed of everything random.
    """
    pairs_rng, split_rng, feature_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    degrees = _draw_degrees(pairs_rng, size)
    users, items = _draw_pairs(pairs_rng, size, degrees)
    split = _draw_splits(split_rng, users, degrees)
    train, valid, test = (Interactions(users[split == s], items[split == s]) for s in range(3))
    return Dataset(
        name=name,
        layout="generated",
        train=train,
        valid=valid,
        test=test,
        features=_draw_features(feature_rng, size),
        user_ids=np.arange(size.n_users),
        item_ids=np.arange(size.n_items),
    )


def write_size(name: str, folder: Path) -> Path:
    """Write the data set of a size into a folder of its name, in the layout of this library."""
    return write_native(make_dataset(name, SIZES[name]), folder / name)


def _draw_degrees(rng: np.random.Generator, size: Size) -> _Positions:
    """Draw how many interactions each user has; their sum is exact."""
    weights = rng.lognormal(sigma=_SPREAD, size=size.n_users)
    spare = size.n_interactions - _LEAST * size.n_users
    ends = np.rint(np.cumsum(weights) * (spare / weights.sum())).astype(np.int64)
    degrees: _Positions = _LEAST + np.diff(ends, prepend=0)
    return degrees


def _draw_pairs(
    rng: np.random.Generator, size: Size, degrees: _Positions
) -> tuple[_Positions, _Positions]:
    """Draw the items of each user by popularity; repeated pairs are drawn again."""
    weights = (np.arange(size.n_items) + 10.0) ** -_EXPONENT
    ends = np.cumsum(weights) / weights.sum()
    places = rng.permutation(size.n_items)  # popular items stand anywhere
    keys = np.empty(0, np.int64)
    missing = np.repeat(np.arange(size.n_users), degrees)
    while len(missing):
        ranks = np.searchsorted(ends, rng.random(len(missing))).clip(max=size.n_items - 1)
        drawn = np.concatenate([keys, missing * size.n_items + places[ranks]])
        keys, first = np.unique(drawn, return_index=True)
        repeated = np.ones(len(drawn), bool)
        repeated[first] = False
        missing = drawn[repeated] // size.n_items
    users, items = np.divmod(keys, size.n_items)
    return users, items


def _draw_splits(rng: np.random.Generator, users: _Positions, degrees: _Positions) -> Any:
    """Label each interaction 0 (train), 1 (valid) or 2 (test), at least one of each per user."""
    order = np.lexsort((rng.random(len(users), np.float32), users))
    held_out = np.maximum(1, np.rint(_HELD_OUT * degrees)).astype(np.int64)[users]
    place = np.arange(len(users)) - (np.cumsum(degrees) - degrees)[users]  # in its user's order
    labels = np.zeros(len(users), np.int8)
    labels[order] = (place < 2 * held_out).astype(np.int8) + (place < held_out)
    return labels


def _draw_features(rng: np.random.Generator, size: Size) -> dict[str, ItemFeatures]:
    topics = rng.integers(_TOPICS, size=size.n_items)
    features = {}
    for name, width in size.widths.items():
        values = rng.standard_normal((size.n_items, width), np.float32)
        values += rng.standard_normal((_TOPICS, width), np.float32)[topics]
        features[name] = ItemFeatures(values)
    return features
