"""The data set: interactions in three splits, item features, and ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from sgurinit.core.inputs.conversion import to_array
from sgurinit.core.inputs.features import ItemFeatures, as_features
from sgurinit.core.inputs.ids import as_ids
from sgurinit.errors import InputError

SPLITS = ("train", "valid", "test")
"""Names of the three splits."""

MODALITY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$"
"""Pattern of modality names, which are used as file names."""

_HASH_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Interactions:
    """User-item pairs by position, sorted by user and item, without repetition.

    Parameters
    ----------
    users, items : array_like of int, shape (n,)
        Positions (from 0) of the user and the item of each interaction, in any order. Repeated
        pairs are dropped.

    Attributes
    ----------
    users, items : ndarray of int64, shape (n_unique,)
        The pairs, sorted and read-only.
    duplicates : int
        Number of repeated pairs that were dropped.

    Raises
    ------
    InputError
        If the arrays are not 1-D, of equal length, of an integer type and non-negative.

    See Also
    --------
    Dataset : Three splits of interactions, with features.

    Examples
    --------
    >>> from sgurinit.data import Interactions
    >>> pairs = Interactions(users=[1, 0, 1], items=[2, 3, 2])
    >>> pairs.users, pairs.items, pairs.duplicates
    (array([0, 1]), array([3, 2]), 1)
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    duplicates: int = field(init=False)

    def __post_init__(self) -> None:
        """Check, sort and deduplicate the pairs."""
        users = _check_positions(self.users, "users")
        items = _check_positions(self.items, "items")
        if users.shape != items.shape:
            raise InputError(
                f"interactions: {users.size} users but {items.size} items; give one item for "
                "each user"
            )
        order = np.lexsort((items, users))
        users, items = users[order], items[order]
        first = np.ones(users.size, dtype=bool)
        first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        object.__setattr__(self, "users", _read_only(users[first]))
        object.__setattr__(self, "items", _read_only(items[first]))
        object.__setattr__(self, "duplicates", int(first.size - np.count_nonzero(first)))

    def __repr__(self) -> str:
        return f"Interactions({len(self):,})"

    def __len__(self) -> int:
        """Return the number of distinct interactions."""
        return int(self.users.size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy or a pickle, read-only again."""
        users, items = _read_only(state["users"]), _read_only(state["items"])
        self.__dict__.update(state | {"users": users, "items": items})

    def matrix(self, n_users: int, n_items: int) -> sparse.csr_array[np.float32, tuple[int, int]]:
        """Return the interactions as a matrix R with 1.0 at each pair.

        Parameters
        ----------
        n_users, n_items : int
            Shape of the matrix. Every position must be below it.

        Returns
        -------
        csr_array of float32, shape (n_users, n_items)
            A new matrix with sorted indices.
        """
        ones = np.ones(len(self), dtype=np.float32)
        return sparse.csr_array((ones, (self.users, self.items)), shape=(n_users, n_items))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Interactions in three splits, item features by modality, and external ids.

    Everything is checked on creation, and cannot be changed afterwards.

    Parameters
    ----------
    name : str
        Name of the data set, for tables and logs.
    layout : str
        The on-disk layout it was read from, ``"planted"`` or ``"memory"``.
    train, valid, test : Interactions
        The splits. No pair is in two splits, and `train` has at least one pair.
    features : mapping of str to ItemFeatures or array of shape (n_items, d)
        Modality name to features, one row per item. They are kept as `ItemFeatures`, sorted by
        name. The mapping may be empty, but a start needs at least one modality.
    user_ids, item_ids : array_like of int or str, shape (n_users,) and (n_items,)
        Unique external id of each position. Layouts without ids use the positions.

    Raises
    ------
    InputError
        If a position has no id, the training split is empty, a pair is in two splits, the number of
        feature rows is not the number of items, an id is repeated, is beyond 64 bits with a sign or
        ends with NUL, or a modality name cannot be used as a file name.

    See Also
    --------
    load_dataset : Load a data set from a folder.
    planted : Generate a data set.
    sgurinit.core.ItemFeatures : Features with missing rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sgurinit.data import Dataset, Interactions
    >>> Dataset(
    ...     name="shop",
    ...     layout="memory",
    ...     train=Interactions(users=[0, 0, 1], items=[0, 1, 1]),
    ...     valid=Interactions(users=[1], items=[2]),
    ...     test=Interactions(users=[0], items=[2]),
    ...     features={"text": np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.4]])},
    ...     user_ids=["ann", "bob"],
    ...     item_ids=["tea", "cup", "pot"],
    ... )
    Dataset('shop', 2 users, 3 items)
      interactions: train 3, valid 1, test 1
      features: text 2-d
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
        """Check everything. For the rules, see the class."""
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"name is {self.name!r}, expected a text")
        object.__setattr__(self, "user_ids", _check_ids(self.user_ids, "user"))
        object.__setattr__(self, "item_ids", _check_ids(self.item_ids, "item"))
        empty = isinstance(self.features, Mapping) and not self.features
        given = {} if empty else as_features(self.features)
        features = {modality: _read_only_features(given[modality]) for modality in sorted(given)}
        object.__setattr__(self, "features", MappingProxyType(features))
        self._check_features()
        for split, pairs in self.splits():
            if not isinstance(pairs, Interactions):
                raise InputError(
                    f"{split} is of type {type(pairs).__name__}, expected Interactions(users=..., "
                    "items=...)"
                )
            _check_range(split, "user", pairs.users, self.n_users)
            _check_range(split, "item", pairs.items, self.n_items)
        if not len(self.train):
            raise InputError("train has no interaction; at least one is needed")
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
        """Copy and pickle by creating the data set again, with all checks."""
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
        """SHA-256 (hex) of everything that a result can depend on.

        It covers the splits, the ids and, for each modality, the type, the shape, which items have
        a row, and the values of these rows. It does not cover the name, the layout and the number
        of dropped duplicates, so the same data has the same fingerprint in every layout.
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
                    f"{self.user_ids[user]} with item {self.item_ids[item]}; remove them from one "
                    "of the two"
                )


def _check_positions(values: ArrayLike, what: str) -> NDArray[np.int64]:
    array = to_array(values, f"interactions: {what}")
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


def _check_ids(values: ArrayLike, what: str) -> NDArray[Any]:
    ids = as_ids(values, f"{what}_ids").copy()
    unique, counts = np.unique(ids, return_counts=True)
    if unique.size != ids.size:
        raise InputError(
            f"{what}_ids: {unique[np.argmax(counts > 1)]} is repeated; ids must be unique"
        )
    return _read_only(ids)


def _check_range(split: str, what: str, positions: NDArray[np.int64], count: int) -> None:
    if positions.size and positions.max() >= count:
        at = int(np.argmax(positions >= count))
        raise InputError(
            f"{split}: {what} {positions[at]} is out of range; allowed are 0 to {count - 1}"
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view. The caller's array stays writable."""
    view = array.view()
    view.flags.writeable = False
    return view


def _read_only_features(feature: ItemFeatures) -> ItemFeatures:
    present = None if feature.present is None else _read_only(feature.present.copy())
    return replace(feature, values=_read_only(feature.values), present=present)


def _feature_bytes(feature: ItemFeatures) -> Iterator[bytes]:
    """Yield which items have a row, and the values, in any memory and byte order."""
    values = feature.values
    present = feature.mask()
    yield np.packbits(present).tobytes()
    step = max(1, _HASH_BLOCK_BYTES // (values.shape[1] * values.dtype.itemsize))
    little = values.dtype.newbyteorder("<")
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        yield values[rows][present[rows]].astype(little).tobytes()
