"""The data that every other room works on: interactions, their splits, item features, ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from sgurinit.core.inputs.features import ItemFeatures, as_features
from sgurinit.errors import InputError

SPLITS = ("train", "valid", "test")
"""Names of the splits."""

MODALITY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$"
"""Pattern of a modality's name, fit for a file name."""

_HASH_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Interactions:
    """User-item pairs by position, sorted by (user, item), each pair once.

    Parameters
    ----------
    users, items : array_like of int, shape (n,)
        Positions (from 0) of the user and the item of each interaction, in any order. A pair that
        comes more than once is kept once.

    Attributes
    ----------
    users, items : ndarray of int64, shape (n_unique,)
        The pairs, sorted and read-only.
    duplicates : int
        How many pairs were dropped because they came before.

    Raises
    ------
    InputError
        If the two arrays are not 1-D, of one length, of an integer type and non-negative.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    duplicates: int = field(init=False)

    def __post_init__(self) -> None:
        """Check, sort and deduplicate the pairs."""
        users = _positions(self.users, "users")
        items = _positions(self.items, "items")
        if users.shape != items.shape:
            raise InputError(
                f"interactions: {users.size} users but {items.size} items; give one item for "
                "each user"
            )
        order = np.lexsort((items, users))
        users, items = users[order], items[order]
        first = np.ones(users.size, dtype=bool)
        first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        object.__setattr__(self, "users", _frozen(users[first]))
        object.__setattr__(self, "items", _frozen(items[first]))
        object.__setattr__(self, "duplicates", int(first.size - np.count_nonzero(first)))

    def __repr__(self) -> str:
        return f"Interactions({len(self):,})"

    def __len__(self) -> int:
        """Return the number of distinct interactions."""
        return int(self.users.size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy or a pickle, read-only again."""
        users, items = _frozen(state["users"]), _frozen(state["items"])
        self.__dict__.update(state | {"users": users, "items": items})

    def matrix(self, n_users: int, n_items: int) -> sparse.csr_array[np.float32, tuple[int, int]]:
        """Return the interactions as R, 1.0 at each pair.

        Parameters
        ----------
        n_users, n_items : int
            Shape of the matrix; every position must be below it.

        Returns
        -------
        csr_array of float32, shape (n_users, n_items)
            A fresh matrix with sorted indices.
        """
        ones = np.ones(len(self), dtype=np.float32)
        return sparse.csr_array((ones, (self.users, self.items)), shape=(n_users, n_items))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Interactions in three splits, item features by modality, and the ids they came with.

    Everything is checked when the object is made and cannot be changed after.

    Parameters
    ----------
    name : str
        What to call the data in tables and logs.
    layout : str
        The on-disk layout it was read from, or ``"planted"`` / ``"memory"``.
    train, valid, test : Interactions
        The splits. They share no pair; `train` has at least one.
    features : mapping of str to ItemFeatures or array of shape (n_items, d)
        Modality name to features, one row per item. Held as `ItemFeatures`, in the order of the
        names. Empty before features are made; a start needs at least one.
    user_ids, item_ids : array_like of int or str, shape (n_users,) and (n_items,)
        The external id of each position, unique. Where a layout has none, the positions themselves.

    Raises
    ------
    InputError
        For a position without an id, an empty training split, a pair in two splits, features whose
        rows are not the items, repeated ids, or a modality name unfit for a file name.
    """

    name: str
    layout: str
    train: Interactions
    valid: Interactions
    test: Interactions
    features: Mapping[str, ItemFeatures]
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]

    def __post_init__(self) -> None:
        """Check everything; see the class for the rules."""
        object.__setattr__(self, "user_ids", _ids(self.user_ids, "user"))
        object.__setattr__(self, "item_ids", _ids(self.item_ids, "item"))
        given = as_features(self.features) if self.features else {}
        features = {modality: _sealed(given[modality]) for modality in sorted(given)}
        object.__setattr__(self, "features", MappingProxyType(features))
        self._check_features()
        for split, pairs in self.splits():
            _check_range(split, "user", pairs.users, self.n_users)
            _check_range(split, "item", pairs.items, self.n_items)
        if not len(self.train):
            raise InputError(
                "the training split has no interaction; at least one is needed to learn from"
            )
        self._check_disjoint()

    def __repr__(self) -> str:
        splits = ", ".join(f"{split} {len(pairs):,}" for split, pairs in self.splits())
        features = ", ".join(f"{name} {table.width}-d" for name, table in self.features.items())
        return (
            f"Dataset({self.name!r}, {self.n_users:,} users, {self.n_items:,} items)\n"
            f"  interactions: {splits}\n"
            f"  features: {features or 'none yet'}"
        )

    def __reduce__(self) -> tuple[type[Dataset], tuple[Any, ...]]:
        """Copy and pickle by making the data set anew, checks included."""
        splits = (self.train, self.valid, self.test)
        ids = (self.user_ids, self.item_ids)
        return Dataset, (self.name, self.layout, *splits, dict(self.features), *ids)

    @property
    def n_users(self) -> int:
        """Number of users, with or without interactions."""
        return int(self.user_ids.size)

    @property
    def n_items(self) -> int:
        """Number of items, with or without interactions."""
        return int(self.item_ids.size)

    def splits(self) -> Iterator[tuple[str, Interactions]]:
        """Yield ``(name, interactions)`` for train, valid and test."""
        yield "train", self.train
        yield "valid", self.valid
        yield "test", self.test

    def train_matrix(self) -> sparse.csr_array[np.float32, tuple[int, int]]:
        """Return R: the training interactions, csr of float32, shape (n_users, n_items)."""
        return self.train.matrix(self.n_users, self.n_items)

    def popularity(self) -> NDArray[np.int64]:
        """Return the number of training interactions of each item, shape (n_items,)."""
        return np.bincount(self.train.items, minlength=self.n_items).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that a result can depend on.

        Taken over the splits, both id lists and, per modality, type, shape, which rows are there
        and the values of those. The name, the layout and the count of dropped duplicates stay out,
        so the same data has the same fingerprint in every layout.
        """
        digest = hashlib.sha256()
        for part in self._fingerprint_parts():
            digest.update(part)
        return digest.hexdigest()

    def _fingerprint_parts(self) -> Iterator[bytes]:
        for ids in (self.user_ids, self.item_ids):
            yield json.dumps(ids.tolist()).encode()
        for split, pairs in self.splits():
            yield f"{split} {len(pairs)}".encode()
            yield np.stack([pairs.users, pairs.items]).astype("<i8").tobytes()
        for modality, feature in self.features.items():
            yield json.dumps([modality, feature.values.dtype.name, *feature.values.shape]).encode()
            yield from _feature_bytes(feature)

    def _check_features(self) -> None:
        for modality, feature in self.features.items():
            if not re.fullmatch(MODALITY_NAME, modality):
                raise InputError(
                    f"modality name {modality!r}: use letters, digits, '_', '-' and '.', beginning "
                    "with a letter or a digit"
                )
            if feature.n_items != self.n_items:
                raise InputError(
                    f"modality {modality!r} has {feature.n_items} rows but there are "
                    f"{self.n_items} items; give one row per item"
                )

    def _check_disjoint(self) -> None:
        keys = {split: p.users * self.n_items + p.items for split, p in self.splits()}
        for one, other in combinations(SPLITS, 2):
            shared = np.intersect1d(keys[one], keys[other], assume_unique=True)
            if shared.size:
                user, item = divmod(int(shared[0]), self.n_items)
                raise InputError(
                    f"{shared.size} pairs are in both {one} and {other}, for example user "
                    f"{self.user_ids[user]} with item {self.item_ids[item]}; the splits must share "
                    "no pair, so remove them from one of the two"
                )


def _positions(values: ArrayLike, what: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"interactions: {what} must be 1-D, not of shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"interactions: {what} must be integer positions, not {array.dtype}")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(f"interactions: {what} holds {array.max()}, too large for a position")
    array = array.astype(np.int64)
    if array.size and array.min() < 0:
        at = int(np.argmax(array < 0))
        raise InputError(f"interactions: {what}[{at}] is {array[at]}; positions begin at 0")
    return array


def _ids(values: ArrayLike | Iterable[Any], what: str) -> NDArray[Any]:
    ids = np.array(values)
    if ids.dtype == object and all(isinstance(value, str) for value in ids.flat):
        ids = ids.astype(str)
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise InputError(
            f"{what}_ids must be a 1-D array of integers or of strings, not {ids.dtype} of shape "
            f"{ids.shape}"
        )
    unique, counts = np.unique(ids, return_counts=True)
    if unique.size != ids.size:
        raise InputError(f"{what} id {unique[np.argmax(counts > 1)]} comes twice; ids are unique")
    return _frozen(ids)


def _check_range(split: str, what: str, positions: NDArray[np.int64], count: int) -> None:
    if positions.size and positions.max() >= count:
        at = int(np.argmax(positions >= count))
        raise InputError(
            f"{split}: {what} {positions[at]} is out of range; allowed are 0 to {count - 1}"
        )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view, so that the caller's own array stays as it was."""
    view = array.view()
    view.flags.writeable = False
    return view


def _sealed(feature: ItemFeatures) -> ItemFeatures:
    present = None if feature.present is None else _frozen(feature.present.copy())
    return replace(feature, values=_frozen(feature.values), present=present)


def _feature_bytes(feature: ItemFeatures) -> Iterator[bytes]:
    """Yield which rows are there and their values, whatever the memory order or byte order."""
    values = feature.values
    present = feature.mask()
    yield np.packbits(present).tobytes()
    step = max(1, _HASH_BLOCK_BYTES // (values.shape[1] * values.dtype.itemsize))
    little = values.dtype.newbyteorder("<")
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        yield values[rows][present[rows]].astype(little).tobytes()
