"""Principal components with a deterministic solver, shared by preprocessing and the joint space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from sgurinit.core._parallel import mapping
from sgurinit.core.inputs.arrays import Float64Array, FloatArray
from sgurinit.core.inputs.features import row_blocks

Step = Callable[[Float64Array], Float64Array]

# Directions with less than this share of the largest variance are rounding noise.
DEGENERATE = 1e-10

# Variance below this share of the mean squared norm is rounding (a relative spread of 1e-13).
ROUNDING = 1e-26

# Up to this width the covariance matrix is cheap; beyond it only the leading part is computed, and
# all rows are held for it as long as they take no more than so many bytes in float64.
_WIDE = 1024
_HELD_BYTES = 1 << 31

# Rows that are read in blocks are divided into so many parts.
_PARTS = 16


@dataclass(frozen=True, eq=False)
class PrincipalRows:
    """Rows in their principal coordinates.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, r)
        Centred rows along the directions of largest variance; r counts no degenerate direction.
    deviations : ndarray of float64, shape (r,)
        Standard deviation along each direction, falling.
    """

    rows: Float64Array
    deviations: Float64Array


@dataclass(frozen=True, eq=False)
class Axes:
    """Directions of largest variance.

    Parameters
    ----------
    vectors : ndarray of float64, shape (d, r)
        A direction of unit length per column.
    deviations : ndarray of float64, shape (r,)
        Standard deviation along each, falling.
    """

    vectors: Float64Array
    deviations: Float64Array


def principal_rows(
    rows: FloatArray,
    at_most: int | None = None,
    *,
    step: Step | None = None,
    n_jobs: int | None = None,
) -> PrincipalRows:
    """Turn rows to their principal axes, without the directions that hold no variance.

    Signs are fixed by the axes (their largest entry is positive), so that equal rows in another
    order give equal coordinates. Rows are read in blocks, so they may be a memory map, unless they
    are wide and few, see ``_HELD_BYTES``.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        At least one row.
    at_most : int, optional
        Largest number of directions to keep; all by default.
    step : callable, optional
        What is done to a block of rows first, shape (b, d) to (b, d).
    n_jobs : int, optional
        Parts of the rows at a time, as in scikit-learn, where they are read in blocks. The result
        is the same for any number.

    Returns
    -------
    PrincipalRows
    """
    n_rows, width = rows.shape
    limit = min(n_rows, width)
    if n_rows < 2:
        return PrincipalRows(np.zeros((n_rows, 0)), np.zeros(0))
    keep = limit if at_most is None else min(at_most, limit)
    with threadpool_limits(limits=1):  # the same sums on any machine
        if n_rows >= width and (width <= _WIDE or 8 * rows.size > _HELD_BYTES):
            return _by_covariance(_Blocks(rows, step), keep, n_jobs)
        return _held(rows, keep, step)


def _by_covariance(blocks: _Blocks, keep: int, n_jobs: int | None) -> PrincipalRows:
    n_rows, width = blocks.rows.shape
    parts = blocks.parts()
    with mapping(n_jobs) as each:
        mean = sum(each(_total, parts), np.zeros(width)) / n_rows
        covariance, size = np.zeros((width, width)), 0.0
        for squares, own in each(partial(_squares, mean=mean), parts):
            covariance += squares
            size += own
        axes = principal_axes(covariance / (n_rows - 1), keep, size / n_rows)
        turn = partial(_turned, mean=mean, axes=axes.vectors)
        turned = np.concatenate(list(each(turn, parts)))
    return PrincipalRows(turned, axes.deviations)


def _total(part: _Blocks) -> Float64Array:
    return sum((block.sum(axis=0) for _, block in part), np.zeros(part.rows.shape[1]))


def _squares(part: _Blocks, mean: Float64Array) -> tuple[Float64Array, float]:
    """Sum of the products of the centred columns, and of the squares of all entries."""
    products, size = np.zeros((len(mean), len(mean))), 0.0
    for _, block in part:
        size += float(np.square(block).sum())
        # Centred before it is squared: afterwards it would cost the precision of rows that lie
        # close together far from the origin.
        centred = block - mean
        products += centred.T @ centred
    return products, size


def _turned(part: _Blocks, mean: Float64Array, axes: Float64Array) -> Float64Array:
    turned = np.empty((len(part.rows), axes.shape[1]))
    for where, block in part:
        turned[where] = (block - mean) @ axes
    return turned


def principal_axes(covariance: Float64Array, keep: int, size: float) -> Axes:
    """Find the directions of largest variance, without those that hold none.

    Parameters
    ----------
    covariance : ndarray of float64, shape (d, d)
        Covariance of the rows.
    keep : int
        Largest number of directions.
    size : float
        Mean squared norm of the rows, which tells what variance is rounding.

    Returns
    -------
    Axes
        Signs are such that the largest entry of each is positive.
    """
    variance, axes = np.linalg.eigh(covariance)
    variance, axes = variance[::-1][:keep], axes[:, ::-1][:, :keep]
    rank = _rank(variance, size)
    axes = axes[:, :rank] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(keep)])[:rank]
    return Axes(axes, np.sqrt(variance[:rank]))


def _held(rows: FloatArray, keep: int, step: Step | None) -> PrincipalRows:
    """Hold all rows, for solvers that need them."""
    whole = np.empty(rows.shape)
    for where, block in _Blocks(rows, step):
        whole[where] = block
    size = float(np.square(whole).sum(axis=1).mean())
    whole -= whole.mean(axis=0)
    solver = "arpack" if min(whole.shape) > _WIDE and keep < min(whole.shape) // 4 else "full"
    pca = PCA(n_components=keep, svd_solver=solver, random_state=0)
    with np.errstate(invalid="ignore"):  # equal rows: the share of a total variance of zero
        turned = pca.fit_transform(whole)
    variance = pca.explained_variance_
    rank = _rank(variance, size)
    return PrincipalRows(turned[:, :rank], np.sqrt(variance[:rank]))


def _rank(variance: Float64Array, size: float) -> int:
    """Count the directions with more than rounding; `size` is the rows' mean squared norm."""
    # Relative to the rows' size as well: what centring leaves of equal rows is rounding.
    floor = max(DEGENERATE * float(variance[0]), ROUNDING * size)
    return int((variance > floor).sum())


@dataclass(frozen=True)
class _Blocks:
    """Rows after a step, in float64 blocks, as often as they are asked for."""

    rows: FloatArray
    step: Step | None

    def parts(self) -> list[_Blocks]:
        """Divide the rows among threads, into as many parts whatever the number of these."""
        step = max(1, -(-len(self.rows) // _PARTS))
        return [
            _Blocks(self.rows[first : first + step], self.step)
            for first in range(0, len(self.rows), step)
        ]

    def __iter__(self) -> Iterator[tuple[slice, Float64Array]]:
        for where, block in row_blocks(self.rows):
            yield where, block if self.step is None else self.step(block)
