"""External ids of users and items: arrays of integers or of strings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.core.inputs.conversion import to_array
from sgurinit.errors import InputError

# Strings are kept in arrays with room for the longest one in every row. That is refused beyond so
# many characters, where it is also so many times what the strings hold.
_MOST_CHARACTERS = 1 << 26
_MOST_PADDING = 16

_FIRST_SURROGATE, _LAST_SURROGATE = 0xD800, 0xDFFF


def as_ids(values: Any, name: str) -> IdArray:
    """Return ids as an int64 or a string array of shape (n,).

    Parameters
    ----------
    values : array-like of int or str, shape (n,)
        The ids.
    name : str
        What they are, for the error message.

    Raises
    ------
    InputError
        The ids are not one-dimensional, neither all integers nor all strings, or an id cannot be
        distinguished from another: NumPy drops NUL characters at the end of a string.
    """
    # NumPy would turn a list of integers and strings into strings.
    plain = isinstance(values, list | tuple)
    ids = np.array(values, dtype=object) if plain else to_array(values, name)
    if ids.ndim != 1:
        raise InputError(f"{name} must be one-dimensional, got shape {ids.shape}")
    if ids.dtype.kind in "iu":
        return _as_int64(ids, name)
    if ids.dtype.kind in "OT":
        return _from_objects(ids.astype(object), name)
    if ids.dtype.kind == "U":
        return _check_text(ids, name)
    raise InputError(
        f"{name} must hold integers or strings, got {ids.dtype}: convert the column, and drop rows "
        "without an id"
    )


def check_item_ids(item_ids: Any, n_items: int) -> IdArray:
    """Check external item ids: one per feature row, unique, all integers or all strings.

    Raises
    ------
    InputError
        The ids break one of these rules.
    """
    ids = as_ids(item_ids, "item_ids")
    if len(ids) != n_items:
        raise InputError(f"item_ids has {len(ids)} entries but there are {n_items} feature rows")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"item_ids holds {values[counts > 1][0].item()!r} more than once: ids must be unique"
        )
    return ids


def name_kind(ids: IdArray) -> str:
    """Return ``"strings"`` or ``"integers"``, for error messages."""
    return "strings" if ids.dtype.kind == "U" else "integers"


def find_positions(ids: IdArray, known: IdArray, order: IntArray) -> tuple[IntArray, int | None]:
    """Look up the position of each id among the known ones.

    Parameters
    ----------
    ids, known : ndarray
        Ids of the same kind; `known` is not empty.
    order : ndarray of int, shape (len(known),)
        Positions that sort `known`.

    Returns
    -------
    positions : ndarray of int64, shape (len(ids),)
        Position of each id.
    unknown : int or None
        Row of the first id that is not among the known ones.
    """
    at = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    positions: IntArray = order[at].astype(np.int64)
    missing = known[positions] != ids
    return positions, int(np.argmax(missing)) if missing.any() else None


def _as_int64(ids: NDArray[Any], name: str) -> IntArray:
    for outermost in (ids.min(), ids.max()) if len(ids) else ():
        if not -(2**63) <= int(outermost) < 2**63:
            raise InputError(
                f"{name} holds {outermost}, beyond 64 bits with a sign: convert the ids to strings"
            )
    return ids.astype(np.int64)


def _from_objects(ids: NDArray[np.object_], name: str) -> IdArray:
    if all(isinstance(value, str) for value in ids):
        return _as_strings(ids, name)
    whole = (int, np.integer)
    if all(isinstance(value, whole) and not isinstance(value, bool) for value in ids):
        return _as_int64(ids, name)
    expected = str if isinstance(ids[0], str) else whole
    row = next(
        row
        for row, value in enumerate(ids)
        if not isinstance(value, expected) or isinstance(value, bool)
    )
    raise InputError(
        f"{name}, row {row}: {ids[row]!r} cannot be an id; ids must be all strings or all integers"
    )


def _as_strings(ids: NDArray[np.object_], name: str) -> IdArray:
    """Return strings as NumPy keeps them: without NUL at the end, all in the longest one's room."""
    lengths = np.array([len(value) for value in ids], dtype=np.int64)
    for row, value in enumerate(ids):
        if value.endswith("\0"):
            raise InputError(
                f"{name}, row {row}: id {value!r} ends with a NUL character, which is not kept: "
                "remove it from the ids, and check that they stay different"
            )
    longest = int(lengths.max(initial=0))
    if longest * len(ids) > max(_MOST_CHARACTERS, _MOST_PADDING * int(lengths.sum())):
        raise InputError(
            f"{name}, row {int(lengths.argmax())}: the id has {longest} characters, and all "
            f"{len(ids)} ids would take as much memory: expected ids of similar lengths; shorten it"
        )
    return _check_text(ids.astype(np.str_), name)


def _check_text(ids: NDArray[np.str_], name: str) -> IdArray:
    """Refuse halves of surrogate pairs, which no file can hold."""
    letters = np.ascontiguousarray(ids).view(np.dtype(np.uint32).newbyteorder(ids.dtype.byteorder))
    if letters.max(initial=0) < _FIRST_SURROGATE:
        return ids
    halves = (letters >= _FIRST_SURROGATE) & (letters <= _LAST_SURROGATE)
    if halves.any():
        row = int(np.argmax(halves)) // (len(letters) // len(ids))
        raise InputError(
            f"{name}, row {row}: id {ids[row].item()!r} is not text: it has half of a surrogate "
            "pair; decode the ids with their own encoding"
        )
    return ids
