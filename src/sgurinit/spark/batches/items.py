"""Items in Arrow batches: checks, preprocessing, the joint space's blocks and clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sgurinit.spark.batches.columns import (
    Array,
    ArrowBatch,
    make_batch,
    make_lists,
    pack,
    read_lists,
    set_column,
    unpack,
)

# One transform of item vectors: a name in `_TRANSFORMS` and the arrays that it needs.
Transform = tuple[str, tuple[Array, ...]]


@dataclass(frozen=True)
class JointBlock:
    """One block of columns of the joint space.

    Parameters
    ----------
    transforms : sequence of Transform
        Transforms of the source vectors, in order.
    width : int
        Number of columns.
    scale : float
        Factor for all entries.
    """

    transforms: Sequence[Transform]
    width: int
    scale: float


def find_bad_vectors(batches: Iterable[ArrowBatch], *, width: int) -> Iterator[ArrowBatch]:
    """Find items whose vectors are unusable: the first of each batch, with the reason."""
    for batch in batches:
        column = batch["vector"]
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero((lengths != width) | _has_bad_numbers(column))[:1]:
            why = f"has {lengths[row]:.0f} numbers, others {width}"
            if lengths[row] == width:
                why = "holds NaN, infinity, null or a number that float32 cannot hold"
            yield make_batch(item=[str(batch["item"][row])], why=[why])


def _has_bad_numbers(column: Any) -> Array:
    values = column.flatten()
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
    bad = ~(abs(numbers) <= np.finfo(np.float32).max)  # a comparison with NaN is false
    found = np.zeros(len(column), dtype=bool)
    found[pc.list_parent_indices(column).to_numpy()[bad]] = True
    return found


def apply_transforms(rows: Array, transforms: Sequence[Transform]) -> Array:
    """Apply transforms to rows in order. An all-zero row carries no meaning and stays zero."""
    if not transforms:
        return rows
    filled = rows.any(axis=1)
    part = rows[filled].astype(np.float64)
    for name, arrays in transforms:
        part = _TRANSFORMS[name](part, *arrays)
    out = np.zeros((len(rows), part.shape[1]))
    out[filled] = part
    return out


def _normalize(rows: Array) -> Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))


def _project(rows: Array, mean: Array, axes: Array) -> Array:
    return np.asarray((rows - mean) @ axes)


_TRANSFORMS: dict[str, Callable[..., Array]] = {
    "center": lambda rows, mean: rows - mean,
    "unit": _normalize,
    "project": _project,
}


def transform_vectors(
    batches: Iterable[ArrowBatch], *, transforms: Sequence[Transform], dtype: str
) -> Iterator[ArrowBatch]:
    """Apply transforms to lists of numbers and pack the result."""
    for batch in batches:
        rows = apply_transforms(read_lists(batch["vector"])[0], transforms)
        yield set_column(batch, "vector", pack(rows.astype(dtype)))


def unpack_vectors(batches: Iterable[ArrowBatch], *, dtype: str) -> Iterator[ArrowBatch]:
    """Turn packed vectors into lists of numbers."""
    for batch in batches:
        yield set_column(batch, "vector", make_lists(unpack(batch["vector"], dtype)[0]))


def concatenate_blocks(
    batches: Iterable[ArrowBatch], *, blocks: Sequence[JointBlock]
) -> Iterator[ArrowBatch]:
    """Make each block from its column, ``v0``, ``v1``, ..., and put them side by side."""
    for batch in batches:
        parts = []
        for number, block in enumerate(blocks):
            rows, present = read_lists(batch[f"v{number}"])
            part = np.zeros((len(present), block.width))
            if len(rows):
                part[present] = apply_transforms(rows, block.transforms) * block.scale
            parts.append(part)
        yield make_batch(item=batch["item"], vector=make_lists(np.hstack(parts)))


def assign_clusters(batches: Iterable[ArrowBatch], *, centroids: Array) -> Iterator[ArrowBatch]:
    """Add the nearest centroid of each item, the first one of equally near ones."""
    mean = centroids.mean(axis=0)
    centered = centroids - mean
    half_squares = 0.5 * np.square(centered).sum(axis=1)
    for batch in batches:
        rows, _ = unpack(batch["vector"], "float32")
        nearest = (half_squares - (rows - mean) @ centered.T).argmin(axis=1) if len(rows) else []
        yield set_column(batch, "cluster", pa.array(nearest, pa.int32()))


def weight_by_degree(batches: Iterable[ArrowBatch]) -> Iterator[ArrowBatch]:
    """Divide vectors by the square root of the item's degree.

    An item without users in training counts as used once.
    """
    for batch in batches:
        rows, _ = unpack(batch["vector"], "float32")
        degrees = batch["degree"].to_numpy(zero_copy_only=False).astype(np.float64)
        if len(rows):
            rows = rows / np.sqrt(np.maximum(degrees, 1.0))[:, None]
        yield set_column(batch, "vector", pack(rows.astype(np.float32)))
