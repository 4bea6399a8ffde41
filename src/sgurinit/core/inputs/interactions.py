"""Interactions in any accepted form, parsed into one binary users x items matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sgurinit.core.inputs.arrays import IdArray, IntArray
from sgurinit.core.inputs.conversion import is_sparse_tensor, is_tensor, to_array
from sgurinit.core.inputs.features import widen_bfloat16
from sgurinit.core.inputs.ids import as_ids, check_item_ids, find_positions, name_kind
from sgurinit.core.inputs.sparse_format import check_format
from sgurinit.core.inputs.training_data import TrainingData, is_training_data
from sgurinit.errors import InputError

_FORMS = (
    "a SciPy sparse matrix (users x items), an integer edge list as an ndarray of shape (n, 2), a "
    "list with a list of items per user, a DataFrame with columns 'user' and 'item', or a Dataset"
)

# A start has a row for every user up to the largest position. Positions beyond so many, and beyond
# so many for each interaction, are taken for ids.
_MOST_POSITIONS = 10_000_000
_MOST_POSITIONS_EACH = 100


@runtime_checkable
class DataFrameLike(Protocol):
    """A pandas or polars DataFrame, or a pyarrow table."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def __getitem__(self, name: Any, /) -> Any:
        """Return a column."""


InteractionsLike: TypeAlias = (
    TrainingData
    | DataFrameLike
    | sp.sparray
    | sp.spmatrix
    | NDArray[Any]
    | Sequence[Iterable[str | int]]
)
"""The forms that `parse_interactions` takes."""


@dataclass(frozen=True, eq=False)
class ParsedInteractions:
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


def parse_interactions(
    source: InteractionsLike, n_items: int, item_ids: Any = None, *, n_known_users: int = 0
) -> ParsedInteractions:
    """Parse interactions in any accepted form into a binary matrix.

    Parameters
    ----------
    source : sparse matrix, edge list, list of items per user, DataFrame or Dataset
        See `SGURInit.fit`.
    n_items : int
        Number of items, that is of feature rows.
    item_ids : ndarray of shape (n_items,), optional
        External ids of the items, needed for a DataFrame.
    n_known_users : int, default 0
        Number of users that are known by position, which an edge list continues.

    Returns
    -------
    ParsedInteractions

    Raises
    ------
    InputError
        On a negative, NaN or infinite weight, an id out of range or unknown, positions of users
        that can only be ids, or another form.
    """
    ids = None if item_ids is None else check_item_ids(item_ids, n_items)
    if is_training_data(source):
        return _parse_dataset(source, n_items, ids)
    if sp.issparse(source) or is_sparse_tensor(source):
        matrix, duplicates = _parse_sparse(source, n_items, n_known_users)
        return ParsedInteractions(matrix, duplicates, None, ids)
    if isinstance(source, list | tuple):
        matrix, duplicates = _parse_lists(source, n_items, ids)
        return ParsedInteractions(matrix, duplicates, None, ids)
    if isinstance(source, DataFrameLike) and not isinstance(source, Mapping):
        return _parse_frame(source, n_items, ids)
    matrix, duplicates = _parse_edges(source, n_items, n_known_users)
    return ParsedInteractions(matrix, duplicates, None, ids)


_Parsed = tuple[sp.csr_array, int]  # the binary matrix and the number of duplicates


def _parse_dataset(
    dataset: TrainingData, n_items: int, item_ids: IdArray | None
) -> ParsedInteractions:
    user_ids, own = as_ids(dataset.user_ids, "user_ids"), check_item_ids(dataset.item_ids, n_items)
    matrix, duplicates = _parse_sparse(dataset.train_matrix(), n_items, len(user_ids))
    if len(user_ids) != matrix.shape[0]:
        raise InputError(
            f"user_ids has {len(user_ids)} entries but the matrix has {matrix.shape[0]} users"
        )
    if item_ids is not None and not np.array_equal(own, item_ids):
        raise InputError(
            "the data set's item_ids are not the ids of the feature rows: bring both into one order"
        )
    return ParsedInteractions(matrix, duplicates + dataset.train.duplicates, user_ids, own)


def _parse_sparse(source: Any, n_items: int, n_known_users: int) -> _Parsed:
    if is_tensor(source):
        source = _to_scipy(source)
    if source.ndim != 2 or source.shape[1] != n_items:
        raise InputError(
            f"the interaction matrix has shape {source.shape}, expected (n_users, {n_items}): one "
            "column per feature row"
        )
    _check_n_users(int(source.shape[0]), int(source.nnz), n_known_users)
    try:
        if source.format in {"csr", "csc", "bsr"}:  # SciPy writes where faulty pointers point to
            check_format(type(source)(source))
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
    return _build_matrix(users, items, (int(source.shape[0]), n_items))


def _to_scipy(tensor: Any) -> sp.coo_array:
    """Convert a sparse tensor of any layout, without dense values."""
    if tensor.ndim != 2:
        raise InputError(
            f"the interaction matrix has shape {tuple(tensor.shape)}, expected (n_users, n_items)"
        )
    try:
        entries = tensor.detach().to_sparse_coo().coalesce().cpu()
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"the interaction tensor cannot be read ({error})") from error
    if entries.dense_dim():
        raise InputError(
            "the interaction tensor is hybrid, expected one number at each position: pass a tensor "
            "that is sparse in both dimensions, such as its to_dense().to_sparse()"
        )
    positions = entries.indices().numpy()
    weights = widen_bfloat16(to_array(entries.values(), "the interaction tensor"))
    if weights.dtype == np.float16:  # SciPy has none
        weights = weights.astype(np.float32)
    return sp.coo_array((weights, (positions[0], positions[1])), shape=tuple(tensor.shape))


def _check_n_users(n_users: int, n_interactions: int, n_known: int) -> None:
    """Check the number of users before memory is taken for all of them."""
    limit = max(n_known, _MOST_POSITIONS) + _MOST_POSITIONS_EACH * n_interactions
    if n_users > limit:
        raise InputError(
            f"the last user has position {n_users - 1}, but there are {n_interactions} "
            "interactions, and a start has a row for every position: external ids of users go into "
            "a DataFrame with columns 'user' and 'item'"
        )


def _parse_edges(source: Any, n_items: int, n_known_users: int) -> _Parsed:
    if isinstance(source, str | bytes | Mapping):
        raise InputError(f"interactions must be {_FORMS}, got {type(source).__name__}")
    edges = to_array(source, "interactions")
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
    n_users = int(users.max(initial=-1)) + 1
    _check_n_users(n_users, len(users), n_known_users)
    return _build_matrix(users, items, (n_users, n_items))


def _parse_lists(
    source: Sequence[Iterable[str | int]], n_items: int, item_ids: IdArray | None
) -> _Parsed:
    look_up = _make_look_up(n_items, item_ids)
    counts = np.zeros(len(source), dtype=np.int64)
    found: list[int] = []
    for user, items in enumerate(source):
        for item in _check_list(items, user):
            position = look_up(item)
            if position is None:
                raise InputError(_explain_unknown(item, user, n_items, item_ids))
            found.append(position)
        counts[user] = len(found)
    users = np.repeat(np.arange(len(source)), np.diff(counts, prepend=0))
    return _build_matrix(users, np.array(found, dtype=np.int64), (len(source), n_items))


def _check_list(items: Any, user: int) -> Iterable[Any]:
    """Return the items of one user as Python values."""
    if isinstance(items, np.ndarray) and items.ndim == 1:
        values: list[Any] = items.tolist()
        return values
    if not isinstance(items, list | tuple | set | frozenset):
        shown = f"{items!r}" if isinstance(items, str | int) else type(items).__name__
        raise InputError(
            f"interactions, user {user}: expected a list of items, got {shown}; a plain list holds "
            "one list of items per user, and an edge list is an ndarray of shape (n, 2)"
        )
    return items


def _make_look_up(n_items: int, item_ids: IdArray | None) -> Callable[[Any], int | None]:
    """Make a function from an item to its position, None for an unknown one."""
    whole = (int, np.integer)
    if item_ids is None:
        return lambda item: (
            int(item)
            if isinstance(item, whole) and not isinstance(item, bool) and 0 <= item < n_items
            else None
        )
    positions = {item: position for position, item in enumerate(item_ids.tolist())}
    kind = str if item_ids.dtype.kind == "U" else whole
    return lambda item: (
        positions.get(item) if isinstance(item, kind) and not isinstance(item, bool) else None
    )


def _explain_unknown(item: Any, user: int, n_items: int, item_ids: IdArray | None) -> str:
    where = f"interactions, user {user}: item {item!r}"
    if item_ids is not None:
        return (
            f"{where} is not in item_ids, which holds {name_kind(item_ids)}; leave it out, or add "
            "the item to the features"
        )
    if isinstance(item, str):
        return f"{where} is an id, but items are known by position: pass item_ids to `fit`"
    return f"{where} is not a position, expected an integer from 0 to {n_items - 1}"


def _parse_frame(
    frame: DataFrameLike, n_items: int, item_ids: IdArray | None
) -> ParsedInteractions:
    if hasattr(frame, "column_names"):  # pyarrow, whose `columns` holds the columns themselves
        frame = _Columns(frame)
    if hasattr(frame, "collect"):
        raise InputError("interactions are a LazyFrame, expected a DataFrame: call its collect")
    for name in ("user", "item"):
        if name not in frame.columns:
            raise InputError(_explain_missing(frame, name))
    if item_ids is None:
        raise InputError(
            "a DataFrame holds external ids: pass item_ids, the external id of each feature row"
        )
    user_ids, users = np.unique(as_ids(frame["user"], "column 'user'"), return_inverse=True)
    ids = as_ids(frame["item"], "column 'item'")
    if len(ids) and ids.dtype.kind != item_ids.dtype.kind:
        raise InputError(
            f"column 'item' holds {name_kind(ids)} but item_ids holds {name_kind(item_ids)}: use "
            "one kind"
        )
    items, unknown = find_positions(ids, item_ids, np.argsort(item_ids, kind="stable"))
    if unknown is not None:
        raise InputError(
            f"column 'item', row {unknown}: item id {ids[unknown].item()!r} is not in item_ids; "
            "drop such rows, or add the item to the features"
        )
    matrix, duplicates = _build_matrix(users.astype(np.int64), items, (len(user_ids), n_items))
    return ParsedInteractions(matrix, duplicates, user_ids, item_ids)


class _Columns:
    """A pyarrow table as a data frame."""

    def __init__(self, table: Any) -> None:
        self.columns: list[str] = table.column_names
        self._table = table

    def __getitem__(self, name: str, /) -> Any:
        # As Python values, since the arrays of pyarrow turn integers beside a null into floats.
        return self._table.column(name).to_pylist()


def _explain_missing(frame: DataFrameLike, name: str) -> str:
    columns = [str(column) for column in frame.columns]
    spare = next((column for column in columns if column not in {"user", "item"}), None)
    renamed = f"{{{spare or 'your_column'!r}: {name!r}}}"
    if type(frame).__module__.partition(".")[0] == "pandas":
        renamed = f"columns={renamed}"
    return (
        f"the DataFrame has no column {name!r}, it has {', '.join(columns) or 'none'}: rename the "
        f"one with the {name}s, for example .rename({renamed})"
    )


def _build_matrix(users: IntArray, items: IntArray, shape: tuple[int, int]) -> _Parsed:
    """Build the binary matrix from positions that are known to be in range."""
    matrix = sp.coo_array((np.ones(len(users), dtype=np.int64), (users, items)), shape=shape)
    unique = matrix.tocsr()
    unique.sum_duplicates()
    unique.data = np.ones(unique.nnz, dtype=np.int8)
    return sp.csr_array(unique), len(users) - int(unique.nnz)


def _check_range(positions: IntArray, limit: int | None, name: str) -> None:
    outside = positions < 0 if limit is None else (positions < 0) | (positions >= limit)
    if outside.any():
        row = int(np.argmax(outside))
        allowed = ">= 0" if limit is None else f"0 to {limit - 1}"
        raise InputError(
            f"interaction {row}: {name} position {positions[row]} is out of range, "
            f"expected {allowed}"
        )
