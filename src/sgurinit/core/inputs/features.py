"""Item features of one modality, checked once at the door."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.arrays import BoolArray, Float64Array, FloatArray
from sgurinit.errors import InputError

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
FLOATS = "float16, bfloat16, float32 or float64"

# Saved starts use these names for the joint space and for the column of user ids.
RESERVED_NAMES = frozenset({"joint", "user"})

# As much as a core's cache holds: rows are gone through once or twice in float64.
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Feature rows of the items in one modality.

    Parameters
    ----------
    values : ndarray of float16, bfloat16, float32 or float64, shape (n_items, d)
        One row per item, in any memory order; may be a memory map. It is kept, not copied.
        bfloat16 is that of the package ml_dtypes, or as NumPy loads it, see `as_floats`.
    present : ndarray of bool, shape (n_items,), optional
        Which items have a row in this modality. ``None`` means all of them. The rows of the other
        items are never read, so they may hold anything.

    Raises
    ------
    InputError
        When `values` is not a two-dimensional floating-point array with at least one column, when
        a row that is present holds NaN or infinity, when `present` does not fit, or when no item
        has a row.
    """

    values: FloatArray
    present: BoolArray | None = None

    def __post_init__(self) -> None:
        """Check the arrays; see the class for the rules."""
        values = as_floats(np.asanyarray(self.values))
        _check_table(values)
        object.__setattr__(self, "values", values)
        if self.present is not None:
            object.__setattr__(self, "present", _checked_present(self.present, len(values)))
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
        """Which items have a row, shape (n_items,)."""
        return np.ones(self.n_items, dtype=bool) if self.present is None else self.present

    def rows(self) -> FloatArray:
        """Rows of the items that have one, shape (n_present, d); no copy where all have one."""
        if self.present is None or bool(self.present.all()):
            return self.values
        return np.asarray(self.values[self.present])


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Take numbers of two bytes without a type for bfloat16, as which ``np.save`` writes them."""
    return values.view(BFLOAT16) if values.dtype == np.dtype("V2") else values


def widened(values: NDArray[Any]) -> NDArray[Any]:
    """Turn bfloat16 into float32, for programs that do not know it."""
    return values.astype(np.float32) if values.dtype == BFLOAT16 else values


def is_float(dtype: np.dtype[Any]) -> bool:
    """Tell whether features may be of this type."""
    return dtype == BFLOAT16 or (dtype.kind == "f" and dtype.itemsize <= 8)


def as_features(features: Mapping[str, Any]) -> dict[str, ItemFeatures]:
    """Wrap and check the features of every modality.

    Parameters
    ----------
    features : mapping of str to ItemFeatures or array-like of shape (n_items, d)
        At least one modality; all with the same number of items.

    Returns
    -------
    dict of str to ItemFeatures
        In the order of the mapping.

    Raises
    ------
    InputError
        Naming the modality, when a table is unusable or the numbers of rows differ.
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


def row_slices(rows: FloatArray) -> Iterator[slice]:
    """Yield slices of rows that take a bounded size in float64."""
    step = max(1, _BLOCK_BYTES // (8 * max(1, rows.shape[1])))
    for first in range(0, rows.shape[0], step):
        yield slice(first, first + step)


def row_blocks(rows: FloatArray) -> Iterator[tuple[slice, Float64Array]]:
    """Yield the rows in float64 blocks of bounded size, each with its slice."""
    for where in row_slices(rows):
        yield where, np.asarray(rows[where], dtype=np.float64)


def row_norms(rows: FloatArray) -> Float64Array:
    """Euclidean norm of every row in float64, shape (n,)."""
    norms = np.empty(rows.shape[0])
    for where, block in row_blocks(rows):
        norms[where] = np.linalg.norm(block, axis=1)
    return norms


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or "/" in name or name in RESERVED_NAMES:
        raise InputError(
            f"modality name {name!r} cannot be used: names are non-empty strings without '/', "
            f"other than {', '.join(sorted(RESERVED_NAMES))}"
        )


def _check_table(values: NDArray[Any]) -> None:
    if values.ndim != 2:
        raise InputError(f"expected a table of shape (n_items, d), got shape {values.shape}")
    if not is_float(values.dtype):
        raise InputError(
            f"expected {FLOATS} values, got {values.dtype}: convert them with .astype('float32')"
        )
    if values.shape[1] < 1:
        raise InputError(f"expected at least one column, got shape {values.shape}")


def _checked_present(present: object, n_items: int) -> BoolArray:
    mask = np.asarray(present)
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
        bad = ~np.isfinite(values[first : first + step]).all(axis=1)
        if present is not None:
            bad &= present[first : first + step]
        if bad.any():
            raise InputError(
                f"row {first + int(np.argmax(bad))} holds NaN or infinity: repair it, or mark the "
                "item as not present, in Python with ItemFeatures(values, present)"
            )
