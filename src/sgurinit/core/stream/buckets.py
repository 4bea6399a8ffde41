"""Interactions on disk in buckets: ranges of users that each fit into memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import Float64Array, IntArray
from sgurinit.errors import InputError
from sgurinit.files import read_arrays, write_arrays

# Interactions per bucket, duplicates included. The interactions of one user are never divided.
_BUCKET_SIZE = 1 << 22

_PAIR = np.dtype([("user", "<u4"), ("item", "<u4")])


@dataclass(frozen=True, eq=False)
class Buckets:
    """Ranges of users with their interactions, one file per range.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    bounds : ndarray of int64, shape (n + 1,)
        First user of every bucket, then the number of users.
    n_items : int
        Number of items.
    """

    folder: Path
    bounds: IntArray
    n_items: int

    def __len__(self) -> int:
        """Return the number of buckets."""
        return len(self.bounds) - 1

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.bounds[-1])

    def user_range(self, number: int) -> slice:
        """Return the users of a bucket."""
        return slice(int(self.bounds[number]), int(self.bounds[number + 1]))

    def write_pairs(self, pairs: Iterable[tuple[IntArray, IntArray]]) -> None:
        """Write pairs of user and item to their buckets, replacing earlier unsorted pairs."""
        checksums = np.zeros(len(self), dtype=np.uint32)
        for number in range(len(self)):
            self._unsorted_file(number).unlink(missing_ok=True)
        for users, items in pairs:
            numbers = np.searchsorted(self.bounds, users, side="right") - 1
            # NumPy sorts small integers by radix, which is faster.
            numbers = numbers.astype(np.min_scalar_type(len(self)))
            order = np.argsort(numbers, kind="stable")
            chosen = np.empty(len(users), dtype=_PAIR)
            chosen["user"], chosen["item"] = users[order], items[order]
            ends = np.cumsum(np.bincount(numbers, minlength=len(self)))
            for number in np.unique(numbers):
                with self._unsorted_file(int(number)).open("ab") as file:
                    first = int(ends[number - 1]) if number else 0
                    part = chosen[first : ends[number]]
                    part.tofile(file)
                checksums[number] = zlib.crc32(part.data, checksums[number])
        write_arrays(self._checksums_file, checksums)

    def are_written(self) -> bool:
        """Whether all pairs are in their buckets, sorted or not."""
        return self._checksums_file.exists()

    def is_sorted(self, number: int) -> bool:
        """Whether a bucket has been sorted."""
        return self._sorted_file(number).exists()

    def sort(self, number: int) -> int:
        """Sort the pairs of a bucket and drop duplicates.

        Returns
        -------
        int
            Number of duplicates, beyond the first of each pair.

        Raises
        ------
        InputError
            The file of the pairs is damaged.
        """
        users, unsorted = self.user_range(number), self._unsorted_file(number)
        pairs = np.fromfile(unsorted, dtype=_PAIR) if unsorted.exists() else np.empty(0, _PAIR)
        (checksums,) = read_arrays(self._checksums_file, 1)
        if zlib.crc32(pairs.data) != checksums[number]:
            raise InputError(f"{unsorted}: wrong checksum")
        keys = pairs["user"].astype(np.int64) - users.start
        keys *= self.n_items
        keys += pairs["item"]
        keys.sort()  # much faster than np.unique, which hashes
        unique = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
        rows, items = np.divmod(unique, self.n_items)
        pointers = np.zeros(users.stop - users.start + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=users.stop - users.start), out=pointers[1:])
        write_arrays(self._sorted_file(number), pointers, items.astype(np.int32))
        unsorted.unlink(missing_ok=True)
        return len(keys) - len(unique)

    def read_matrix(self, number: int) -> sp.csr_array:
        """Read the binary interactions of a sorted bucket, shape (n_users_in_it, n_items).

        Raises
        ------
        InputError
            The file is damaged.
        """
        pointers, items = read_arrays(self._sorted_file(number), 2)
        shape = (len(pointers) - 1, self.n_items)
        return sp.csr_array((np.ones(len(items), dtype=np.int8), items, pointers), shape=shape)

    def count_item_degrees(self) -> Float64Array:
        """Count the users of each item, shape (n_items,)."""
        counts = np.zeros(self.n_items, dtype=np.int64)
        for number in range(len(self)):
            counts += np.bincount(self.read_matrix(number).indices, minlength=self.n_items)
        return counts.astype(np.float64)

    @property
    def _checksums_file(self) -> Path:
        """File of the checksums of the unsorted pairs, written last."""
        return self.folder / "checksums.npy"

    def _unsorted_file(self, number: int) -> Path:
        return self.folder / f"{number:05}.pairs"

    def _sorted_file(self, number: int) -> Path:
        return self.folder / f"{number:05}.npy"


def divide_users(counts: IntArray) -> IntArray:
    """Divide users into ranges with about `_BUCKET_SIZE` interactions each.

    Parameters
    ----------
    counts : ndarray of int, shape (n_users,)
        Interactions of every user.

    Returns
    -------
    ndarray of int64, shape (n + 1,)
        First user of every range, then the number of users.
    """
    before = np.cumsum(counts) - counts
    numbers = before // _BUCKET_SIZE
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    bounds: IntArray = np.append(firsts, len(counts)).astype(np.int64)
    return bounds
