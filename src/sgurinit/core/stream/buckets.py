"""Interactions on disk, grouped by user: ranges of users that each fit into memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import Float64Array, IntArray
from sgurinit.files import write_arrays

# Interactions per range, duplicates included; one user's are never divided.
BUCKET = 1 << 22

_PAIR = np.dtype([("user", "<u4"), ("item", "<u4")])


@dataclass(frozen=True, eq=False)
class Buckets:
    """Ranges of users with their interactions.

    Parameters
    ----------
    folder : Path
        Where the files are.
    bounds : ndarray of int64, shape (n + 1,)
        First user of every range, and the number of users.
    n_items : int
        Number of items.
    """

    folder: Path
    bounds: IntArray
    n_items: int

    def __len__(self) -> int:
        """Number of ranges."""
        return len(self.bounds) - 1

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.bounds[-1])

    def users(self, number: int) -> slice:
        """Users of a range."""
        return slice(int(self.bounds[number]), int(self.bounds[number + 1]))

    def fill(self, pairs: Iterable[tuple[IntArray, IntArray]]) -> None:
        """Write pairs of user and item to the ranges that they belong to, from the beginning."""
        for number in range(len(self)):
            self._raw(number).unlink(missing_ok=True)
        for users, items in pairs:
            numbers = np.searchsorted(self.bounds, users, side="right") - 1
            # As small integers, which are brought into order by their digits.
            numbers = numbers.astype(np.min_scalar_type(len(self)))
            order = np.argsort(numbers, kind="stable")
            chosen = np.empty(len(users), dtype=_PAIR)
            chosen["user"], chosen["item"] = users[order], items[order]
            ends = np.cumsum(np.bincount(numbers, minlength=len(self)))
            for number in np.unique(numbers):
                with self._raw(int(number)).open("ab") as file:
                    first = int(ends[number - 1]) if number else 0
                    chosen[first : ends[number]].tofile(file)

    def is_settled(self, number: int) -> bool:
        """Tell whether a range is in order."""
        return self._settled(number).exists()

    def settle(self, number: int) -> int:
        """Bring the pairs of a range into order, each once.

        Returns
        -------
        int
            How many came more than once, beyond the first.
        """
        users = self.users(number)
        raw = self._raw(number)
        pairs = np.fromfile(raw, dtype=_PAIR) if raw.exists() else np.empty(0, dtype=_PAIR)
        keys = pairs["user"].astype(np.int64) - users.start
        keys *= self.n_items
        keys += pairs["item"]
        keys.sort()  # far quicker than np.unique, which hashes
        unique = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
        rows, items = np.divmod(unique, self.n_items)
        pointers = np.zeros(users.stop - users.start + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=users.stop - users.start), out=pointers[1:])
        write_arrays(self._settled(number), pointers, items.astype(np.int32))
        raw.unlink(missing_ok=True)
        return len(keys) - len(unique)

    def matrix(self, number: int) -> sp.csr_array:
        """Binary interactions of a range's users, shape (n_users_of_it, n_items)."""
        with self._settled(number).open("rb") as file:
            pointers = np.load(file)
            items = np.load(file)
        shape = (len(pointers) - 1, self.n_items)
        return sp.csr_array((np.ones(len(items), dtype=np.int8), items, pointers), shape=shape)

    def item_degrees(self) -> Float64Array:
        """Count the users of each item, shape (n_items,)."""
        counts = np.zeros(self.n_items, dtype=np.int64)
        for number in range(len(self)):
            counts += np.bincount(self.matrix(number).indices, minlength=self.n_items)
        return counts.astype(np.float64)

    def _raw(self, number: int) -> Path:
        return self.folder / f"{number:05}.pairs"

    def _settled(self, number: int) -> Path:
        return self.folder / f"{number:05}.npy"


def divide(counts: IntArray) -> IntArray:
    """Bounds of ranges of users with about `BUCKET` interactions each.

    Parameters
    ----------
    counts : ndarray of int, shape (n_users,)
        Interactions of every user.

    Returns
    -------
    ndarray of int64, shape (n + 1,)
    """
    before = np.cumsum(counts) - counts
    numbers = before // BUCKET
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    bounds: IntArray = np.append(firsts, len(counts)).astype(np.int64)
    return bounds
