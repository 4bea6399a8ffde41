"""Sums over the items of a partition, and the merging of sums by key.

Each function yields a small table of `keyed sums`: a number per row, ``key``, and a packed row of
float64, ``sums``. The tables of all partitions are then added up, by `merge_sums` or on the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sgurinit.spark.batches.columns import (
    Array,
    ArrowBatch,
    group_ids,
    make_batch,
    pack,
    read_lists,
    sum_groups,
    unpack,
)
from sgurinit.spark.batches.items import Transform, apply_transforms


def make_keyed_sums(totals: Array) -> ArrowBatch:
    """Make a table of keyed sums from rows of shape (n_keys, n_sums)."""
    return make_batch(key=pa.array(np.arange(len(totals)), pa.int64()), sums=pack(totals))


def sum_first_moments(
    batches: Iterable[ArrowBatch],
    *,
    transforms: Sequence[Transform],
    nonzero_only: bool,
) -> Iterator[ArrowBatch]:
    """Count the rows, and sum their squares, their norms and the rows themselves, under key 0.

    The width is that of the rows. A partition without any yields nothing.
    """
    totals: Array | None = None
    for batch in batches:
        if batch.num_rows:
            rows = _read_rows(batch, transforms, nonzero_only)
            squares = np.square(rows).sum(axis=1)
            counts = [len(rows), squares.sum(), np.sqrt(squares).sum()]
            sums = np.concatenate([counts, rows.sum(axis=0)])
            totals = sums if totals is None else totals + sums
    if totals is not None:
        yield make_keyed_sums(totals[None])


def sum_second_moments(
    batches: Iterable[ArrowBatch],
    *,
    transforms: Sequence[Transform],
    mean: Array,
    nonzero_only: bool,
) -> Iterator[ArrowBatch]:
    """Sum the products of the centered columns, one key per column."""
    totals = np.zeros((len(mean), len(mean)))
    for batch in batches:
        rows = _read_rows(batch, transforms, nonzero_only)
        if len(rows):
            totals += (rows - mean).T @ (rows - mean)
    yield make_keyed_sums(totals)


def _read_rows(batch: ArrowBatch, transforms: Sequence[Transform], nonzero_only: bool) -> Array:
    rows, _ = read_lists(batch["vector"])
    if nonzero_only:
        rows = rows[rows.any(axis=1)]
    return apply_transforms(rows.astype(np.float64), transforms)


def sum_clusters(
    batches: Iterable[ArrowBatch], *, n_clusters: int, width: int
) -> Iterator[ArrowBatch]:
    """Count each cluster's items and interactions, and sum the vectors of its items."""
    totals = np.zeros((n_clusters, 2 + width))
    for batch in batches:
        rows, _ = unpack(batch["vector"], "float32")
        if len(rows):
            labels = batch["cluster"].to_numpy()
            degrees = batch["degree"].to_numpy(zero_copy_only=False)
            totals[:, 0] += np.bincount(labels, minlength=n_clusters)
            totals[:, 1] += np.bincount(labels, weights=degrees, minlength=n_clusters)
            totals[:, 2:] += sum_groups(labels, n_clusters, rows)
    yield make_keyed_sums(totals)


def merge_sums(batches: Iterable[ArrowBatch], *, key: str) -> Iterator[ArrowBatch]:
    """Add up the packed float64 rows of equal keys. The batches must be sorted by key."""
    held: tuple[Any, Array] | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        keys, groups = group_ids(batch[key])
        totals = sum_groups(groups, len(keys), unpack(batch["sums"], "float64")[0])
        if held is not None:
            if keys[0] == held[0][0]:
                totals[0] += held[1][0]
            else:
                yield make_batch(**{key: held[0], "sums": pack(held[1])})
        if len(keys) > 1:
            yield make_batch(**{key: keys[:-1], "sums": pack(totals[:-1])})
        # The last key may continue in the next batch.
        held = keys[-1:], totals[-1:]
    if held is not None:
        yield make_batch(**{key: held[0], "sums": pack(held[1])})
