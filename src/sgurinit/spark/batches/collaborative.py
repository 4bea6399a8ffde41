"""One step of the power iteration for collaborative columns, in Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sgurinit.spark.batches.columns import (
    Array,
    ArrowBatch,
    group_ids,
    make_batch,
    make_lists,
    pack,
    read_lists,
    sum_groups,
    unpack,
)
from sgurinit.spark.batches.sums import make_keyed_sums


def normalize_directions(batches: Iterable[ArrowBatch]) -> Iterator[ArrowBatch]:
    """Divide item vectors by their ``factor`` and by the square root of the degree plus one.

    The first division gives the entries of directions of unit length.
    """
    for batch in batches:
        rows, _ = read_lists(batch["vector"])
        if len(rows):
            degrees = batch["degree"].to_numpy(zero_copy_only=False).astype(np.float64)
            rows = rows / (batch["factor"].to_numpy() * np.sqrt(degrees + 1.0))[:, None]
        yield make_batch(item=batch["item"], vector=pack(rows.astype(np.float64)))


def count_and_sum(batches: Iterable[ArrowBatch], *, by: str, width: int) -> Iterator[ArrowBatch]:
    """Count the rows of each id, and sum their vectors; null vectors count but add nothing."""
    for batch in batches:
        if not batch.num_rows:
            continue
        keys, groups = group_ids(batch[by])
        sums = np.zeros((len(keys), 1 + width))
        sums[:, 0] = np.bincount(groups, minlength=len(keys))
        rows, present = unpack(batch["vector"], "float64")
        if len(rows):
            sums[:, 1:] = sum_groups(groups[present], len(keys), rows)
        yield make_batch(**{by: keys, "sums": pack(sums)})


def divide_by_degree(batches: Iterable[ArrowBatch]) -> Iterator[ArrowBatch]:
    """Divide the users' sums by the degree plus one."""
    for batch in batches:
        sums, _ = unpack(batch["sums"], "float64")
        rows = sums[:, 1:] / (sums[:, :1] + 1.0) if len(sums) else sums
        yield make_batch(user=batch["user"], vector=pack(rows))


def sum_squared_directions(batches: Iterable[ArrowBatch], *, width: int) -> Iterator[ArrowBatch]:
    """Sum the squared lengths of the directions that the items' sums form."""
    totals = np.zeros((1, width))
    for batch in batches:
        sums, _ = unpack(batch["sums"], "float64")
        if len(sums):
            totals += (np.square(sums[:, 1:]) / (sums[:, :1] + 1.0)).sum(axis=0)
    yield make_keyed_sums(totals)


def scale_directions(batches: Iterable[ArrowBatch], *, scales: Array) -> Iterator[ArrowBatch]:
    """Multiply the items' sums by a scale per direction."""
    for batch in batches:
        sums, _ = unpack(batch["sums"], "float64")
        rows = sums[:, 1:] * scales if len(sums) else np.zeros((0, len(scales)))
        yield make_batch(item=batch["item"], vector=make_lists(rows.astype(np.float32)))
