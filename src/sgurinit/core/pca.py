"""Principal components with a deterministic solver, shared by preparation and reduction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from sgurinit.core.features import Float64Array

# Directions with less than this share of the largest variance are rounding noise.
DEGENERATE = 1e-10

# Variance below this share of the mean squared norm is rounding (a relative spread of 1e-13).
ROUNDING = 1e-26

# Up to this width the covariance matrix is cheap; beyond it only the leading part is computed.
_WIDE = 1024


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


def principal_rows(rows: Float64Array, at_most: int | None = None) -> PrincipalRows:
    """Turn rows to their principal axes, without the directions that hold no variance.

    Signs are fixed by the axes (their largest entry is positive), so that equal rows in another
    order give equal coordinates.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        At least one row.
    at_most : int, optional
        Largest number of directions to keep; all by default.

    Returns
    -------
    PrincipalRows
    """
    n_rows, width = rows.shape
    limit = min(n_rows, width)
    if n_rows < 2:
        return PrincipalRows(np.zeros((n_rows, 0)), np.zeros(0))
    keep = limit if at_most is None else min(at_most, limit)
    # Centred here: the covariance solver subtracts the mean only after squaring, which costs the
    # precision of rows that lie close together far from the origin.
    centred = rows - rows.mean(axis=0)
    pca = PCA(n_components=keep, svd_solver=_solver(n_rows, width, keep), random_state=0)
    # Equal rows: the share of a total variance of zero. One thread: the same sums on any machine.
    with np.errstate(invalid="ignore"), threadpool_limits(limits=1):
        turned = pca.fit_transform(centred)
    variance = pca.explained_variance_
    # Relative to the rows' size as well: what centring leaves of equal rows is rounding.
    size = float(np.square(rows).sum(axis=1).mean())
    floor = max(DEGENERATE * float(variance[0]), ROUNDING * size)
    rank = int((variance > floor).sum())
    return PrincipalRows(turned[:, :rank], np.sqrt(variance[:rank]))


def _solver(n_rows: int, width: int, keep: int) -> str:
    if width <= _WIDE and n_rows >= width:
        return "covariance_eigh"
    if min(n_rows, width) > _WIDE and keep < min(n_rows, width) // 4:
        return "arpack"
    return "full"
