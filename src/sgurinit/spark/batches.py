"""What runs on executors: NumPy and SciPy on Arrow batches.

The functions travel by value, so executors need NumPy, SciPy and PyArrow, not this package:
nothing else may be imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

Array = np.ndarray[Any, Any]
Batch = Any  # a RecordBatch; PyArrow has no types

# A step of preprocessing: its name and the arrays that it needs.
Step = tuple[str, tuple[Array, ...]]


def vectors(column: Any) -> tuple[Array, Array]:
    """Rows of a column of lists, shape (n_present, d), and which of its entries are no null."""
    present = np.asarray(column.is_valid())
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(int(present.sum()), -1) if len(flat) else flat.reshape(0, 0), present


def unpacked(column: Any, dtype: str) -> tuple[Array, Array]:
    """Rows of a column of packed numbers, shape (n_present, d), and which are no null."""
    present = np.asarray(column.is_valid())
    column = column.filter(column.is_valid())
    _, offsets, data = column.buffers()
    if len(column) == 0:
        return np.zeros((0, 0), dtype=dtype), present
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    flat = np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[-1]].view(dtype)
    return flat.reshape(len(column), -1), present


def packed(rows: Array) -> Any:
    """A binary column of rows, shape (n, d): it crosses from Java at a copy's speed."""
    n_rows, width = rows.shape
    offsets = np.arange(n_rows + 1, dtype=np.int32) * np.int32(width * rows.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.Array.from_buffers(pa.binary(), n_rows, buffers)


def lists(rows: Array) -> Any:
    """A column of lists, of rows of shape (n, d)."""
    n_rows, width = rows.shape
    offsets = np.arange(n_rows + 1, dtype=np.int32) * np.int32(width)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))


def with_column(batch: Batch, name: str, column: Any) -> Batch:
    """The batch with one more column, or another one of that name."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {name: column}
    return pa.RecordBatch.from_pydict(columns)


# Rows of items.


def faults(batches: Iterable[Batch], *, width: int) -> Iterator[Batch]:
    """Items whose vectors cannot be used, and why."""
    for batch in batches:
        column = batch["vector"]
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        holes = _holes(column)
        for row in np.flatnonzero((lengths != width) | holes)[:1]:
            why = f"has {lengths[row]:.0f} numbers, others {width}"
            if lengths[row] == width:
                why = "holds NaN, infinity or null"
            yield pa.RecordBatch.from_pydict({"item": [str(batch["item"][row])], "why": [why]})


def _holes(column: Any) -> Array:
    values = column.flatten()
    bad = ~np.isfinite(values.to_numpy(zero_copy_only=False).astype(np.float64))
    rows = pc.list_parent_indices(column).to_numpy()[bad]
    holes = np.zeros(len(column), dtype=bool)
    holes[rows] = True
    return holes


def stepped(rows: Array, steps: Sequence[Step]) -> Array:
    """Rows after steps; an all-zero one carries no meaning and stays zero."""
    if not steps:
        return rows
    filled = rows.any(axis=1)
    part = rows[filled].astype(np.float64)
    for name, arrays in steps:
        part = STEPS[name](part, *arrays)
    out = np.zeros((len(rows), part.shape[1]))
    out[filled] = part
    return out


def _unit(rows: Array) -> Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))


def _turn(rows: Array, mean: Array, axes: Array) -> Array:
    return np.asarray((rows - mean) @ axes)


STEPS: dict[str, Callable[..., Array]] = {
    "center": lambda rows, mean: rows - mean,
    "unit": _unit,
    "turn": _turn,
}


def prepared(batches: Iterable[Batch], *, steps: Sequence[Step], dtype: str) -> Iterator[Batch]:
    """Vectors after steps, packed."""
    for batch in batches:
        rows = stepped(vectors(batch["vector"])[0], steps)
        yield with_column(batch, "vector", packed(rows.astype(dtype)))


def joined(
    batches: Iterable[Batch], *, blocks: Sequence[tuple[Sequence[Step], int, float]]
) -> Iterator[Batch]:
    """Blocks of all modalities side by side, each after its steps, of its width, at its scale."""
    for batch in batches:
        parts = []
        for number, (steps, width, scale) in enumerate(blocks):
            rows, present = vectors(batch[f"v{number}"])
            part = np.zeros((len(present), width))
            if len(rows):
                part[present] = stepped(rows, steps) * scale
            parts.append(part)
        whole = lists(np.hstack(parts))
        yield pa.RecordBatch.from_pydict({"item": batch["item"], "vector": whole})


def as_lists(batches: Iterable[Batch], *, dtype: str) -> Iterator[Batch]:
    """Packed vectors as lists again."""
    for batch in batches:
        yield with_column(batch, "vector", lists(unpacked(batch["vector"], dtype)[0]))


def assigned(batches: Iterable[Batch], *, centroids: Array) -> Iterator[Batch]:
    """Items with the nearest centroid, of several the first."""
    middle = centroids.mean(axis=0)
    centred = centroids - middle
    half = 0.5 * np.square(centred).sum(axis=1)
    for batch in batches:
        rows, _ = unpacked(batch["vector"], "float32")
        nearest = (half - (rows - middle) @ centred.T).argmin(axis=1) if len(rows) else []
        yield with_column(batch, "cluster", pa.array(nearest, pa.int32()))


def weighted(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Vectors over the square root of the degree; an item without users counts as used once."""
    for batch in batches:
        rows, _ = unpacked(batch["vector"], "float32")
        degrees = batch["degree"].to_numpy(zero_copy_only=False).astype(np.float64)
        if len(rows):
            rows = rows / np.sqrt(np.maximum(degrees, 1.0))[:, None]
        yield with_column(batch, "vector", packed(rows.astype(np.float32)))


# Items by who uses them.


def directions(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Items' entries of unit directions, over the square root of the degree and one."""
    for batch in batches:
        rows, _ = vectors(batch["vector"])
        if len(rows):
            degrees = batch["degree"].to_numpy(zero_copy_only=False).astype(np.float64)
            rows = rows / (batch["factor"].to_numpy() * np.sqrt(degrees + 1.0))[:, None]
        column = packed(rows.astype(np.float64))
        yield pa.RecordBatch.from_pydict({"item": batch["item"], "vector": column})


def counted_sums(batches: Iterable[Batch], *, by: str, width: int) -> Iterator[Batch]:
    """Per id of a batch the number of its rows, and the sum of their vectors."""
    for batch in batches:
        if not batch.num_rows:
            continue
        keys, codes = _grouped(batch[by])
        sums = np.zeros((len(keys), 1 + width))
        sums[:, 0] = np.bincount(codes, minlength=len(keys))
        rows, present = unpacked(batch["vector"], "float64")
        if len(rows):
            sums[:, 1:] = _summed(codes[present], len(keys), rows)
        yield pa.RecordBatch.from_pydict({by: keys, "sums": packed(sums)})


def damped(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Users' sums over their degree and one."""
    for batch in batches:
        sums, _ = unpacked(batch["sums"], "float64")
        rows = sums[:, 1:] / (sums[:, :1] + 1.0) if len(sums) else sums
        yield pa.RecordBatch.from_pydict({"user": batch["user"], "vector": packed(rows)})


def direction_squares(batches: Iterable[Batch], *, width: int) -> Iterator[Batch]:
    """Squared lengths of the directions that items' sums make."""
    totals = np.zeros((1, width))
    for batch in batches:
        sums, _ = unpacked(batch["sums"], "float64")
        if len(sums):
            totals += (np.square(sums[:, 1:]) / (sums[:, :1] + 1.0)).sum(axis=0)
    yield _keyed(totals)


def scaled(batches: Iterable[Batch], *, scales: Array) -> Iterator[Batch]:
    """Items' sums, every direction by its scale."""
    for batch in batches:
        sums, _ = unpacked(batch["sums"], "float64")
        rows = sums[:, 1:] * scales if len(sums) else np.zeros((0, len(scales)))
        column = lists(rows.astype(np.float32))
        yield pa.RecordBatch.from_pydict({"item": batch["item"], "vector": column})


# Sums that fit the driver: a row per key from each partition.


def _keyed(totals: Array) -> Batch:
    keys = pa.array(np.arange(len(totals)), pa.int64())
    return pa.RecordBatch.from_pydict({"key": keys, "sums": packed(totals)})


def first_moments(
    batches: Iterable[Batch], *, steps: Sequence[Step], width: int, filled: bool
) -> Iterator[Batch]:
    """Number of rows, sums of their squares and norms, and of the rows; only filled ones or all."""
    totals = np.zeros((1, 3 + width))
    for batch in batches:
        rows = _counted(batch, steps, filled)
        if len(rows):
            squares = np.square(rows).sum(axis=1)
            totals[0, :3] += len(rows), squares.sum(), np.sqrt(squares).sum()
            totals[0, 3:] += rows.sum(axis=0)
    yield _keyed(totals)


def second_moments(
    batches: Iterable[Batch], *, steps: Sequence[Step], mean: Array, filled: bool
) -> Iterator[Batch]:
    """Sums of products of the centred columns, a row per column."""
    totals = np.zeros((len(mean), len(mean)))
    for batch in batches:
        rows = _counted(batch, steps, filled)
        if len(rows):
            totals += (rows - mean).T @ (rows - mean)
    yield _keyed(totals)


def _counted(batch: Batch, steps: Sequence[Step], filled: bool) -> Array:
    rows, _ = vectors(batch["vector"])
    if filled:
        rows = rows[rows.any(axis=1)]
    return stepped(rows.astype(np.float64), steps)


def cluster_moments(batches: Iterable[Batch], *, n_clusters: int, width: int) -> Iterator[Batch]:
    """Per cluster the number of items, of interactions with them, and the sum of their rows."""
    totals = np.zeros((n_clusters, 2 + width))
    for batch in batches:
        rows, _ = unpacked(batch["vector"], "float32")
        if len(rows):
            labels = batch["cluster"].to_numpy()
            degrees = batch["degree"].to_numpy(zero_copy_only=False)
            totals[:, 0] += np.bincount(labels, minlength=n_clusters)
            totals[:, 1] += np.bincount(labels, weights=degrees, minlength=n_clusters)
            totals[:, 2:] += _summed(labels, n_clusters, rows)
    yield _keyed(totals)


def merged(batches: Iterable[Batch], *, key: str) -> Iterator[Batch]:
    """Sums of packed float64 rows of equal keys, which come one behind the other."""
    held: tuple[Any, Array] | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        keys, codes = _grouped(batch[key])
        totals = _summed(codes, len(keys), unpacked(batch["sums"], "float64")[0])
        if held is not None:
            if keys[0] == held[0][0]:
                totals[0] += held[1][0]
            else:
                yield pa.RecordBatch.from_pydict({key: held[0], "sums": packed(held[1])})
        if len(keys) > 1:
            yield pa.RecordBatch.from_pydict({key: keys[:-1], "sums": packed(totals[:-1])})
        held = keys[-1:], totals[-1:]
    if held is not None:
        yield pa.RecordBatch.from_pydict({key: held[0], "sums": packed(held[1])})


def _grouped(column: Any) -> tuple[Any, Array]:
    """Distinct values in the order of their first appearance, and the number of each row's."""
    found = column.dictionary_encode()
    return found.dictionary, found.indices.to_numpy()


def _summed(codes: Array, n_groups: int, rows: Array) -> Array:
    shape = (n_groups, len(codes))
    groups = sp.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=shape)
    return np.asarray(groups @ rows)


# Users.


@dataclass(frozen=True)
class Table:
    """What turns sums over a user's items into their row of one space.

    Parameters
    ----------
    centroids : ndarray of float64, shape (K, d)
        Centroids C.
    fallback : ndarray of float64, shape (d,)
        Row of a user without any item in this space.
    local_weight : float
        Weight w of the local part.
    power : float
        Power of the user's degree in the local part, -1/2 or -1.
    """

    centroids: Array
    fallback: Array
    local_weight: float
    power: float

    @property
    def n_sums(self) -> int:
        """Sums per user: items, items per cluster, and the local sum where it has a weight."""
        n_clusters, width = self.centroids.shape
        return int(1 + n_clusters + (width if self.local_weight > 0 else 0))

    def sums(self, batch: Batch, number: int, codes: Array, n_groups: int) -> Array:
        """Sums over the rows of each group, shape (n_groups, n_sums)."""
        totals = np.zeros((n_groups, self.n_sums))
        clusters = batch[f"z{number}"]
        present = np.asarray(clusters.is_valid())
        labels, codes = clusters.drop_null().to_numpy(), codes[present]
        n_clusters = len(self.centroids)
        cells = np.bincount(codes * n_clusters + labels, minlength=n_groups * n_clusters)
        totals[:, 1 : 1 + n_clusters] = cells.reshape(n_groups, n_clusters)
        totals[:, 0] = totals[:, 1 : 1 + n_clusters].sum(axis=1)
        if self.local_weight > 0 and len(codes):
            rows, _ = unpacked(batch[f"v{number}"], "float32")
            totals[:, 1 + n_clusters :] = _summed(codes, n_groups, rows)
        return totals

    def rows(self, sums: Array) -> Array:
        """Rows of users, shape (n, d), from their sums."""
        n_clusters = len(self.centroids)
        degrees = np.maximum(sums[:, :1], 1.0)
        rows = (1.0 - self.local_weight) / degrees * sums[:, 1 : 1 + n_clusters] @ self.centroids
        if self.local_weight > 0:
            rows += self.local_weight * degrees**self.power * sums[:, 1 + n_clusters :]
        rows[sums[:, 0] == 0] = self.fallback
        return np.asarray(rows)


def partial_sums(batches: Iterable[Batch], *, tables: Sequence[Table]) -> Iterator[Batch]:
    """Sums over the items of each user of a batch; all spaces side by side."""
    for batch in batches:
        if not batch.num_rows:
            continue
        users, codes = _grouped(batch["user"])
        sums = [table.sums(batch, at, codes, len(users)) for at, table in enumerate(tables)]
        yield pa.RecordBatch.from_pydict({"user": users, "sums": packed(np.hstack(sums))})


def finished(
    batches: Iterable[Batch], *, tables: Sequence[Table], names: Sequence[str]
) -> Iterator[Batch]:
    """Rows of users from their sums, which come one behind the other."""
    ends = np.cumsum([table.n_sums for table in tables])[:-1]
    for batch in merged(batches, key="user"):
        sums = np.hsplit(unpacked(batch["sums"], "float64")[0], ends)
        columns = {"user": batch["user"]}
        for name, table, part in zip(names, tables, sums, strict=True):
            columns[name] = lists(table.rows(part).astype(np.float32))
        yield pa.RecordBatch.from_pydict(columns)


def whole_users(batches: Iterable[Batch], **of_spaces: Any) -> Iterator[Batch]:
    """Rows of users whose items come one behind the other."""
    sums = partial_sums(batches, tables=of_spaces["tables"])
    return finished(sums, **of_spaces)


def ordered_users(batches: Iterable[Batch], **of_spaces: Any) -> Iterator[Batch]:
    """The same, making sure that a join after the sort has left them so."""
    return whole_users(_in_order(batches), **of_spaces)


def _in_order(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Make sure that rows come as they were numbered when users lay together."""
    last = -1
    for batch in batches:
        numbers = batch["row"].to_numpy()
        if len(numbers) and (numbers[0] <= last or (np.diff(numbers) < 0).any()):
            raise RuntimeError("the engine changed the order of sorted interactions in a join")
        last = numbers[-1] if len(numbers) else last
        yield batch
