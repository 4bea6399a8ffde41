"""Interactions in any accepted form, turned into one binary users x items matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.errors import InputError

_FORMS = (
    "a SciPy sparse matrix (users x items), an integer edge list of shape (n, 2), a DataFrame with "
    "columns 'user' and 'item', or a Dataset"
)


@dataclass(frozen=True, eq=False)
class Interactions:
    """Training interactions as the method uses them.

    Parameters
    ----------
    matrix : csr_array of int8, shape (n_users, n_items)
        1 where the user has interacted with the item; canonical, no stored zeros.
    duplicates : int
        Interactions given more than once, beyond the first.
    user_ids, item_ids : ndarray or None
        External ids of the rows and columns, where known.
    """

    matrix: sp.csr_array
    duplicates: int = 0
    user_ids: IdArray | None = None
    item_ids: IdArray | None = None


def is_dataset(source: object) -> bool:
    """Tell whether `source` is a data set: it has a training matrix and features of its own."""
    return hasattr(source, "train_matrix") and hasattr(source, "features")


def parse_interactions(source: Any, n_items: int, item_ids: IdArray | None = None) -> Interactions:
    """Turn interactions in any accepted form into a binary matrix.

    Parameters
    ----------
    source : sparse matrix, edge list, DataFrame or Dataset
        A sparse matrix of shape (n_users, `n_items`) with weights >= 0 (zero is no interaction);
        integer pairs (user, item) of shape (n, 2); a pandas or polars DataFrame whose columns
        ``user`` and ``item`` hold external ids; or any object with ``train_matrix()`` and
        ``features``.
    n_items : int
        Number of items, that is of feature rows.
    item_ids : ndarray of shape (n_items,), optional
        External ids of the items, needed for a DataFrame.

    Returns
    -------
    Interactions

    Raises
    ------
    InputError
        On a negative, NaN or infinite weight, an id out of range or unknown, or another form.
    """
    ids = None if item_ids is None else checked_item_ids(item_ids, n_items)
    if is_dataset(source):
        parsed = _from_sparse(source.train_matrix(), n_items)
        return Interactions(
            parsed.matrix,
            parsed.duplicates + _known_duplicates(source),
            _dataset_user_ids(source, int(parsed.matrix.shape[0])),
            _dataset_item_ids(source, ids, n_items),
        )
    if sp.issparse(source):
        parsed = _from_sparse(source, n_items)
        return Interactions(parsed.matrix, parsed.duplicates, None, ids)
    if hasattr(source, "columns") and hasattr(source, "__getitem__"):
        return _from_frame(source, n_items, ids)
    parsed = _from_edges(source, n_items)
    return Interactions(parsed.matrix, parsed.duplicates, None, ids)


def checked_item_ids(item_ids: Any, n_items: int) -> IdArray:
    """Check external item ids: one per feature row, unique, all integers or all strings."""
    ids = _as_ids(item_ids, "item_ids")
    if len(ids) != n_items:
        raise InputError(f"item_ids has {len(ids)} entries but there are {n_items} feature rows")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"item_ids holds {values[counts > 1][0].item()!r} more than once: ids must be unique"
        )
    return ids


def _known_duplicates(dataset: Any) -> int:
    """Duplicates that a data set has already dropped from its training split."""
    return int(getattr(getattr(dataset, "train", None), "duplicates", 0))


def _dataset_user_ids(dataset: Any, n_users: int) -> IdArray | None:
    own = getattr(dataset, "user_ids", None)
    if own is None:
        return None
    ids = _as_ids(own, "user_ids")
    if len(ids) != n_users:
        raise InputError(f"user_ids has {len(ids)} entries but the matrix has {n_users} users")
    return ids


def _dataset_item_ids(dataset: Any, given: IdArray | None, n_items: int) -> IdArray | None:
    own = getattr(dataset, "item_ids", None)
    if own is None:
        return given
    ids = checked_item_ids(own, n_items)
    if given is not None and not np.array_equal(ids, given):
        raise InputError(
            "the data set's item_ids are not the ids of the feature rows: bring both in one order"
        )
    return ids


def _binary(users: IntArray, items: IntArray, shape: tuple[int, int]) -> Interactions:
    """Build the binary matrix from positions that are known to be in range."""
    matrix = sp.coo_array((np.ones(len(users), dtype=np.int64), (users, items)), shape=shape)
    unique = matrix.tocsr()
    unique.sum_duplicates()
    unique.data = np.ones(unique.nnz, dtype=np.int8)
    return Interactions(sp.csr_array(unique), len(users) - int(unique.nnz))


def _from_sparse(source: Any, n_items: int) -> Interactions:
    if source.ndim != 2 or source.shape[1] != n_items:
        raise InputError(
            f"the interaction matrix has shape {source.shape}, expected (n_users, {n_items}): one "
            "column per feature row"
        )
    try:
        coo = source.tocoo()
    except ValueError as error:
        raise InputError(f"the interaction matrix is damaged: {error}") from error
    weights = coo.data
    if weights.dtype.kind not in "biuf":
        raise InputError(f"interaction weights must be real numbers, got {weights.dtype}")
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        at = int(np.argmax(bad))
        raise InputError(
            f"interaction (user {coo.row[at]}, item {coo.col[at]}) has weight {weights[at]}: "
            "weights must be finite and >= 0; zero means no interaction"
        )
    keep = weights != 0
    users, items = coo.row[keep].astype(np.int64), coo.col[keep].astype(np.int64)
    _check_range(items, n_items, "item")
    _check_range(users, int(source.shape[0]), "user")
    return _binary(users, items, (int(source.shape[0]), n_items))


def _from_edges(source: Any, n_items: int) -> Interactions:
    if isinstance(source, str | bytes | Mapping):
        raise InputError(f"interactions must be {_FORMS}, got {type(source).__name__}")
    edges = np.asarray(source)
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise InputError(
            f"interactions must be {_FORMS}, got {type(source).__name__} of shape {edges.shape}; "
            "wrap a dense matrix in scipy.sparse.csr_array"
        )
    if edges.dtype.kind not in "iu":
        raise InputError(
            f"an edge list holds integer positions (user, item), got {edges.dtype}: for external "
            "ids pass a DataFrame with columns 'user' and 'item' and item_ids"
        )
    users, items = edges[:, 0].astype(np.int64), edges[:, 1].astype(np.int64)
    _check_range(items, n_items, "item")
    _check_range(users, None, "user")
    return _binary(users, items, (int(users.max(initial=-1)) + 1, n_items))


def _from_frame(frame: Any, n_items: int, item_ids: IdArray | None) -> Interactions:
    for name in ("user", "item"):
        if name not in frame.columns:
            raise InputError(
                f"the DataFrame has no column {name!r}: it needs columns 'user' and 'item'"
            )
    if item_ids is None:
        raise InputError(
            "a DataFrame holds external ids: pass item_ids, the external id of each feature row"
        )
    user_ids, users = np.unique(_as_ids(frame["user"], "column 'user'"), return_inverse=True)
    items = _positions(_as_ids(frame["item"], "column 'item'"), item_ids)
    parsed = _binary(users.astype(np.int64), items, (len(user_ids), n_items))
    return Interactions(parsed.matrix, parsed.duplicates, user_ids, item_ids)


def _positions(ids: IdArray, known: IdArray) -> IntArray:
    """Position of each id among the known ones."""
    if len(ids) and ids.dtype.kind != known.dtype.kind:
        raise InputError(
            f"column 'item' holds {_kind(ids)} but item_ids holds {_kind(known)}: use one kind"
        )
    order = np.argsort(known, kind="stable")
    found = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    positions: IntArray = order[found].astype(np.int64)
    unknown = known[positions] != ids
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(
            f"column 'item', row {row}: item id {ids[row].item()!r} is not in item_ids; drop such "
            "rows, or add the item to the features"
        )
    return positions


def _kind(ids: IdArray) -> str:
    return "strings" if ids.dtype.kind == "U" else "integers"


def _as_ids(values: Any, name: str) -> IdArray:
    """Return ids as an int64 or a string array of shape (n,)."""
    ids = np.asarray(values)
    if ids.ndim != 1:
        raise InputError(f"{name} must be one-dimensional, got shape {ids.shape}")
    if ids.dtype.kind in "iu":
        return _as_int64(ids, name)
    if ids.dtype.kind in "OT":
        return _from_objects(ids.astype(object), name)
    if ids.dtype.kind == "U":
        return ids
    raise InputError(
        f"{name} must hold integers or strings, got {ids.dtype}: convert the column, and drop rows "
        "without an id"
    )


def _as_int64(ids: NDArray[Any], name: str) -> IntArray:
    if len(ids) and int(ids.max()) > np.iinfo(np.int64).max:
        raise InputError(f"{name} holds {ids.max()}, beyond 64 bits: convert the ids to strings")
    return ids.astype(np.int64)


def _from_objects(ids: NDArray[np.object_], name: str) -> IdArray:
    if all(isinstance(value, str) for value in ids):
        return ids.astype(np.str_)
    whole = (int, np.integer)
    if all(isinstance(value, whole) and not isinstance(value, bool) for value in ids):
        return _as_int64(ids, name)
    expected = str if isinstance(ids[0], str) else whole
    row = next(row for row, value in enumerate(ids) if not isinstance(value, expected))
    raise InputError(
        f"{name}, row {row}: {ids[row]!r} is no usable id; ids must be all strings or all integers"
    )


def _check_range(positions: IntArray, limit: int | None, name: str) -> None:
    outside = positions < 0 if limit is None else (positions < 0) | (positions >= limit)
    if outside.any():
        row = int(np.argmax(outside))
        allowed = ">= 0" if limit is None else f"0 to {limit - 1}"
        raise InputError(
            f"interaction {row}: {name} position {positions[row]} is out of range, "
            f"expected {allowed}"
        )
