"""Principal components with a deterministic solver, shared by preprocessing and the joint space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from sgurinit.core._parallel import thread_map
from sgurinit.core.inputs.arrays import Float64Array, FloatArray
from sgurinit.core.steps.processor import NUMPY, Own, Processor

RowTransform = Callable[[Own], Own]

# Directions with less than this share of the largest variance are rounding errors.
_DEGENERATE = 1e-10

# Variance below this share of the mean squared norm is a rounding error (a spread of 1e-13).
_ROUNDING = 1e-26

# Up to this width all axes are computed from the covariance matrix. Wider rows are held in memory,
# where a solver can find the leading axes only.
_WIDE = 1024
# Largest size in float64 of rows that are held in memory.
_HELD_BYTES = 1 << 31

# Number of parts that rows are divided into for the threads.
_PARTS = 16


@dataclass(frozen=True, eq=False)
class PrincipalRows:
    """Rows in their principal coordinates.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, r)
        Centered rows along the directions of largest variance, without degenerate ones.
    deviations : ndarray of float64, shape (r,)
        Standard deviation along each direction, in descending order.
    """

    rows: Float64Array
    deviations: Float64Array


@dataclass(frozen=True, eq=False)
class Axes:
    """Directions of largest variance.

    Parameters
    ----------
    vectors : ndarray of float64, shape (d, r)
        One direction of unit length per column.
    deviations : ndarray of float64, shape (r,)
        Standard deviation along each direction, in descending order.
    """

    vectors: Float64Array
    deviations: Float64Array


def compute_principal_rows(
    rows: FloatArray,
    at_most: int | None = None,
    *,
    transform: RowTransform | None = None,
    n_jobs: int | None = None,
    processor: Processor = NUMPY,
) -> PrincipalRows:
    """Rotate rows to their principal axes and drop the directions without variance.

    The largest entry of each axis is positive, so the coordinates do not depend on the order of the
    rows. Rows are read in blocks and can be a memory map. Only wide rows that take less than
    `_HELD_BYTES` are held in memory.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        At least one row.
    at_most : int, optional
        Largest number of directions to keep; all by default.
    transform : callable, optional
        Applied to every block of rows first, shape (b, d) to (b, d); an array of the processor's.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.
    processor : Processor
        What computes. A solver that holds all rows in memory uses the CPU.

    Returns
    -------
    PrincipalRows
    """
    n_rows, width = rows.shape
    limit = min(n_rows, width)
    if n_rows < 2:
        return PrincipalRows(np.zeros((n_rows, 0)), np.zeros(0))
    keep = limit if at_most is None else min(at_most, limit)
    with threadpool_limits(limits=1):  # the order of sums is then the same on any machine
        if n_rows >= width and (width <= _WIDE or 8 * rows.size > _HELD_BYTES):
            return _solve_by_covariance(_Blocks(rows, transform, processor), keep, n_jobs)
        return _solve_in_memory(_Blocks(rows, transform, processor), keep)


def _solve_by_covariance(blocks: _Blocks, keep: int, n_jobs: int | None) -> PrincipalRows:
    n_rows, width = blocks.rows.shape
    parts, processor = blocks.split(), blocks.processor
    with thread_map(processor.count_threads(n_jobs)) as each:
        mean = sum(each(_add_up, parts), np.zeros(width)) / n_rows
        covariance, size = np.zeros((width, width)), 0.0
        for squares, own in each(partial(_add_up_products, mean=mean), parts):
            covariance += squares
            size += own
        axes = compute_principal_axes(covariance / (n_rows - 1), keep, size / n_rows)
        turn = partial(_rotate, mean=mean, axes=axes.vectors)
        turned = np.concatenate(list(each(turn, parts)))
    return PrincipalRows(turned, axes.deviations)


def _add_up(part: _Blocks) -> Float64Array:
    start = part.processor.put(np.zeros(part.rows.shape[1]))
    total: Float64Array = part.processor.get(sum((block.sum(axis=0) for _, block in part), start))
    return total


def _add_up_products(part: _Blocks, mean: Float64Array) -> tuple[Float64Array, float]:
    """Add up the products of the centered columns, and the squares of all entries."""
    processor = part.processor
    products, size = processor.put(np.zeros((len(mean), len(mean)))), 0.0
    center = processor.put(mean)
    for _, block in part:
        size += float(processor.xp.square(block).sum())
        # Centered before squaring: rows close together but far from the origin would otherwise
        # lose their precision.
        centered = block - center
        products += centered.T @ centered
    return processor.get(products), size


def _rotate(part: _Blocks, mean: Float64Array, axes: Float64Array) -> Float64Array:
    processor = part.processor
    center, turn = processor.put(mean), processor.put(axes)
    turned = np.empty((len(part.rows), axes.shape[1]))
    for where, block in part:
        turned[where] = processor.get((block - center) @ turn)
    return turned


def compute_principal_axes(covariance: Float64Array, keep: int, size: float) -> Axes:
    """Find the directions of largest variance, without those that have none.

    Parameters
    ----------
    covariance : ndarray of float64, shape (d, d)
        Covariance of the rows.
    keep : int
        Largest number of directions.
    size : float
        Mean squared norm of the rows; variance far below it is a rounding error.

    Returns
    -------
    Axes
        The largest entry of each direction is positive.
    """
    variance, axes = np.linalg.eigh(covariance)
    variance, axes = variance[::-1][:keep], axes[:, ::-1][:, :keep]
    rank = _count_directions(variance, size)
    axes = axes[:, :rank] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(keep)])[:rank]
    return Axes(axes, np.sqrt(variance[:rank]))


def _solve_in_memory(blocks: _Blocks, keep: int) -> PrincipalRows:
    """Find principal rows with a solver that holds all rows in memory."""
    whole = np.empty(blocks.rows.shape)
    for where, block in blocks:
        whole[where] = blocks.processor.get(block)
    size = float(np.square(whole).sum(axis=1).mean())
    whole -= whole.mean(axis=0)
    solver = "arpack" if min(whole.shape) > _WIDE and keep < min(whole.shape) // 4 else "full"
    pca = PCA(n_components=keep, svd_solver=solver, random_state=0)
    with np.errstate(invalid="ignore"):  # for equal rows it divides by zero variance
        turned = pca.fit_transform(whole)
    variance = pca.explained_variance_
    rank = _count_directions(variance, size)
    return PrincipalRows(turned[:, :rank], np.sqrt(variance[:rank]))


def _count_directions(variance: Float64Array, size: float) -> int:
    """Count the directions with variance above rounding errors."""
    # Also relative to the rows' norm: centering leaves only rounding errors of equal rows.
    floor = max(_DEGENERATE * float(variance[0]), _ROUNDING * size)
    return int((variance > floor).sum())


@dataclass(frozen=True)
class _Blocks:
    """Transformed rows in float64 blocks of a processor; can be iterated several times."""

    rows: FloatArray
    transform: RowTransform | None
    processor: Processor

    def split(self) -> list[_Blocks]:
        """Divide the rows into parts for the threads; their number does not depend on `n_jobs`."""
        step = max(1, -(-len(self.rows) // _PARTS))
        return [
            _Blocks(self.rows[first : first + step], self.transform, self.processor)
            for first in range(0, len(self.rows), step)
        ]

    def __iter__(self) -> Iterator[tuple[slice, Own]]:
        for where in self.processor.iter_slices(self.rows):
            block = self.processor.put(self.rows[where], np.float64)
            yield where, block if self.transform is None else self.transform(block)
