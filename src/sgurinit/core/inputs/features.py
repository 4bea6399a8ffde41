"""Item features of one modality, checked when they are wrapped."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.arrays import BoolArray, Float64Array, FloatArray
from sgurinit.core.inputs.conversion import to_array
from sgurinit.errors import InputError

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
FLOATS = "float16, bfloat16, float32 or float64"
"""Types that features can have, for messages."""

RESERVED_NAMES = frozenset({"joint", "user"})
"""Names that no modality can have: saved starts use them for the joint space and the user ids."""

# Size of a block in float64: about a core's cache, since each block is read once or twice.
_BLOCK_BYTES = 1 << 22
_FLOAT32_MAX = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Feature rows of the items in one modality.

    Parameters
    ----------
    values : array-like of shape (n_items, d), or column of lists
        One row per item. An ndarray of float16, bfloat16, float32 or float64 is kept, not copied,
        in any memory order; a memory map is accepted. bfloat16 is the type of the package
        ml_dtypes, or what NumPy loads of it, see `restore_bfloat16`. A torch tensor is read as it
        is, detached. A column whose entries are lists of numbers of one length is stacked: a
        polars or pandas Series, a pyarrow array, an object array or a list of lists.
    present : array-like of bool, shape (n_items,), optional
        Which items have a row in this modality; all by default. The rows of the other items are
        never read and can hold anything, also None.

    Raises
    ------
    InputError
        `values` is not a two-dimensional floating-point array with at least one column, a present
        row is None, of another length or holds NaN, infinity or a number beyond the range of
        float32, in which users are computed, `present` has another shape or type, or no item has a
        row. The message names the row.

    See Also
    --------
    SGURInit.fit : Takes one per modality.

    Examples
    --------
    >>> import numpy as np
    >>> from sgurinit import ItemFeatures
    >>> ItemFeatures(np.eye(3), np.array([True, True, False]))
    ItemFeatures(3 x 3 float64, 1 without a row)

    A column of lists, one of them missing:

    >>> import polars as pl
    >>> vectors = pl.Series([[0.5, 1.0], None, [2.0, 0.0]])
    >>> ItemFeatures(vectors, vectors.is_not_null())
    ItemFeatures(3 x 2 float64, 1 without a row)
    """

    values: FloatArray
    present: BoolArray | None = None

    def __post_init__(self) -> None:
        """Check the arrays; see the class for the rules."""
        rows = _as_array(self.values)
        if not rows.ndim:
            raise InputError(
                "expected a table of shape (n_items, d) or a column of lists of numbers, got "
                f"{type(self.values).__name__}"
            )
        if rows.dtype.kind in "iu" and not isinstance(self.values, np.ndarray):
            rows = rows.astype(np.float64)
        if self.present is not None:
            object.__setattr__(self, "present", _check_present(self.present, len(rows)))
        values = restore_bfloat16(_stack_rows(rows, self.present) if rows.dtype == object else rows)
        _check_table(values)
        object.__setattr__(self, "values", values)
        _check_finite(values, self.present)

    def __repr__(self) -> str:
        absent = self.n_items - self.n_present
        missing = f", {absent:,} without a row" if absent else ""
        return f"ItemFeatures({self.n_items:,} x {self.width} {self.values.dtype}{missing})"

    @property
    def n_items(self) -> int:
        """Number of items, with and without a row."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """Number of columns, d."""
        return int(self.values.shape[1])

    @property
    def n_present(self) -> int:
        """Number of items that have a row."""
        return self.n_items if self.present is None else int(self.present.sum())

    def mask(self) -> BoolArray:
        """Return which items have a row, shape (n_items,)."""
        return np.ones(self.n_items, dtype=bool) if self.present is None else self.present

    def rows(self) -> FloatArray:
        """Return the rows that are present, shape (n_present, d); not copied where all are."""
        if self.present is None or bool(self.present.all()):
            return self.values
        return np.asarray(self.values[self.present])


def restore_bfloat16(values: NDArray[Any]) -> NDArray[Any]:
    """View untyped two-byte numbers as bfloat16; other arrays are returned unchanged.

    ``np.save`` writes bfloat16 without its type, so ``np.load`` returns such numbers.

    See Also
    --------
    widen_bfloat16 : Converts bfloat16 to float32.

    Examples
    --------
    >>> import numpy as np
    >>> restore_bfloat16(np.zeros(2, dtype="V2")).dtype
    dtype(bfloat16)
    """
    return values.view(BFLOAT16) if values.dtype == np.dtype("V2") else values


def widen_bfloat16(values: NDArray[Any]) -> NDArray[Any]:
    """Convert bfloat16 to float32, for programs without bfloat16; others are unchanged."""
    return values.astype(np.float32) if values.dtype == BFLOAT16 else values


def is_feature_dtype(dtype: np.dtype[Any]) -> bool:
    """Whether features can have this type."""
    return dtype == BFLOAT16 or (dtype.kind == "f" and dtype.itemsize <= 8)


def as_features(features: Mapping[str, Any]) -> dict[str, ItemFeatures]:
    """Wrap and check the features of every modality.

    Parameters
    ----------
    features : mapping of str to ItemFeatures, array-like of shape (n_items, d) or column of lists
        At least one modality; all with the same number of items.

    Returns
    -------
    dict of str to ItemFeatures
        In the order of the mapping.

    Raises
    ------
    InputError
        A table is not usable, or the numbers of rows differ; the message names the modality.
    """
    if not isinstance(features, Mapping) or not features:
        raise InputError(
            "features must be a non-empty mapping from modality name to an array (n_items, d), "
            f"got {'an empty one' if isinstance(features, Mapping) else type(features).__name__}"
        )
    checked: dict[str, ItemFeatures] = {}
    for name, table in features.items():
        _check_name(name)
        try:
            checked[name] = table if isinstance(table, ItemFeatures) else ItemFeatures(table)
        except InputError as error:
            raise InputError(f"features[{name!r}]: {error}") from error
    first, *others = checked
    for name in others:
        if checked[name].n_items != checked[first].n_items:
            raise InputError(
                f"features[{name!r}] has {checked[name].n_items} rows but features[{first!r}] has "
                f"{checked[first].n_items}: every modality needs one row per item; mark items "
                "without one in ItemFeatures(values, present)"
            )
    return checked


def iter_row_slices(rows: FloatArray) -> Iterator[slice]:
    """Yield slices of rows that take a bounded size in float64."""
    step = max(1, _BLOCK_BYTES // (8 * max(1, rows.shape[1])))
    for first in range(0, rows.shape[0], step):
        yield slice(first, first + step)


def iter_row_blocks(rows: FloatArray) -> Iterator[tuple[slice, Float64Array]]:
    """Yield the rows in float64 blocks of bounded size, each with its slice."""
    for where in iter_row_slices(rows):
        yield where, np.asarray(rows[where], dtype=np.float64)


def row_norms(rows: FloatArray) -> Float64Array:
    """Compute the Euclidean norm of every row in float64, shape (n,)."""
    norms = np.empty(rows.shape[0])
    for where, block in iter_row_blocks(rows):
        norms[where] = np.linalg.norm(block, axis=1)
    return norms


def _check_name(name: object) -> None:
    if (
        not isinstance(name, str)
        or not name
        or "/" in name
        or name in RESERVED_NAMES
        or name != name.encode(errors="ignore").decode()  # half of a surrogate pair
    ):
        raise InputError(
            f"modality name {name!r} cannot be used: names are non-empty strings without '/', "
            f"other than {', '.join(sorted(RESERVED_NAMES))}"
        )


def _as_array(values: Any) -> NDArray[Any]:
    """Convert to an array; lists of unequal lengths become an object array."""
    try:
        return to_array(values, "the table")
    except InputError:
        if not isinstance(values, list | tuple):
            raise
        rows = np.empty(len(values), dtype=object)
        for at, row in enumerate(values):
            rows[at] = row
        return rows


def _stack_rows(rows: NDArray[Any], present: BoolArray | None) -> NDArray[Any]:
    """Stack an object array of lists or arrays; rows that are not present become zeros."""
    used = np.arange(len(rows)) if present is None else np.flatnonzero(present)
    if not len(used):
        return np.zeros((len(rows), 1))
    parts = [_as_row(rows[at], int(at)) for at in used]
    for at, part in zip(used, parts, strict=True):
        if len(part) != len(parts[0]):
            raise InputError(
                f"row {at} has {len(part)} numbers, row {used[0]} has {len(parts[0])}: give every "
                "vector one length, or mark the item as not present, in Python with "
                "ItemFeatures(values, present)"
            )
    found = np.stack(parts)
    found = found.astype(np.float64) if found.dtype.kind in "iu" else found
    if len(used) == len(rows):
        return found
    table = np.zeros((len(rows), found.shape[1]), dtype=found.dtype)
    table[used] = found
    return table


def _as_row(values: Any, at: int) -> NDArray[Any]:
    """Return one vector as an array of numbers."""
    row = _as_array(values)
    if row.dtype == object and row.ndim == 1 and all(isinstance(value, Real) for value in row):
        row = row.astype(np.float64)
    if row.ndim == 1 and (row.dtype.kind in "iuf" or row.dtype in {BFLOAT16, np.dtype("V2")}):
        return row
    is_missing = values is None or (row.ndim == 0 and row.dtype.kind == "f")  # pandas has NaN
    shown = "has no vector" if is_missing else f"holds {' '.join(reprlib.repr(values).split())}"
    raise InputError(
        f"row {at} {shown}, expected a list of numbers: mark items without a vector as not "
        "present, in Python with ItemFeatures(values, present)"
    )


def _check_table(values: NDArray[Any]) -> None:
    if values.ndim != 2:
        raise InputError(
            "expected a table of shape (n_items, d) or a column of lists of numbers, got "
            f"{values.dtype} of shape {values.shape}"
        )
    if not is_feature_dtype(values.dtype):
        raise InputError(
            f"expected {FLOATS} values, got {values.dtype}: convert them with .astype('float32')"
        )
    if values.shape[1] < 1:
        raise InputError(f"expected at least one column, got shape {values.shape}")


def _check_present(present: object, n_items: int) -> BoolArray:
    mask = to_array(present, "present")
    if mask.dtype != np.bool_ or mask.shape != (n_items,):
        raise InputError(
            f"present must be bool with one entry per row, shape ({n_items},), "
            f"got {mask.dtype} of shape {mask.shape}"
        )
    return mask


def _check_finite(values: FloatArray, present: BoolArray | None) -> None:
    if values.shape[0] == 0 or (present is not None and not present.any()):
        raise InputError("no item has a row: leave the modality out")
    step = max(1, _BLOCK_BYTES // (values.itemsize * values.shape[1]))
    for first in range(0, values.shape[0], step):
        # Users are float32. A comparison with NaN is false.
        good = (abs(values[first : first + step]) <= _FLOAT32_MAX).all(axis=1)
        if present is not None:
            good |= ~present[first : first + step]
        if not good.all():
            row = first + int(np.argmin(good))
            raise InputError(
                f"row {row} {_name_bad_number(values[row])}: repair it, or leave the item's vector "
                "out, in a Parquet file with null, in Python with ItemFeatures(values, present)"
            )


def _name_bad_number(row: FloatArray) -> str:
    if not np.isfinite(row).all():
        return "holds NaN or infinity"
    return f"holds {float(row[np.argmax(abs(row))]):.6g}, which float32 cannot hold"
