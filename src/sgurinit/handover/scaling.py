"""Row norms: to which size the rows of a table are scaled."""

from __future__ import annotations

from sys import float_info
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sgurinit.core.inputs.arrays import Float32Array, FloatArray
from sgurinit.core.inputs.features import row_norms
from sgurinit.errors import InputError
from sgurinit.handover.distributed import gather

Scale: TypeAlias = Literal["table", "items"] | float | None

DEFAULT_SCALE = 4.0
"""Default `scale`. Optimizer settings that suit random rows soon undo a start of the same norm."""


def scale_factor(scale: Scale) -> float:
    """Return by how much the norm of a table's own random values is multiplied.

    Raises
    ------
    InputError
        `scale` is neither a number above 0 nor one of the names.
    """
    if scale is None or (isinstance(scale, str) and scale in {"table", "items"}):
        return 1.0
    if (
        isinstance(scale, bool)
        or not isinstance(scale, int | float)
        or not 0 < scale <= float_info.max
    ):
        raise InputError(
            f"scale is {scale!r:.60}, expected 'table', 'items', None or a number above 0"
        )
    return float(scale)


def match_scale(rows: FloatArray, target_mean_norm: float) -> Float32Array:
    """Rescale a table to a given mean row norm.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Any table. An all-zero one stays zero.
    target_mean_norm : float, >= 0
        Mean Euclidean row norm of the result.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Raises
    ------
    InputError
        `target_mean_norm` is negative, not finite, or too large or too small for float32.

    See Also
    --------
    hand_over : Scales all tables of a model, see its `scale`.

    Examples
    --------
    >>> import numpy as np
    >>> match_scale(np.array([[3.0, 0.0], [0.0, 1.0]]), 1.0)
    array([[1.5, 0. ],
           [0. , 0.5]], dtype=float32)
    """
    if not np.isfinite(target_mean_norm) or target_mean_norm < 0:
        raise InputError(f"target_mean_norm must be finite and >= 0, got {target_mean_norm!r}")
    mean = float(row_norms(rows).mean()) if len(rows) else 0.0
    factor = target_mean_norm / mean if mean > 0 else 1.0
    scaled = rows.astype(np.float64) * factor
    if abs(scaled).max(initial=0.0) > np.finfo(np.float32).max:
        raise InputError(
            f"a mean row norm of {target_mean_norm:.3g} needs numbers that float32 cannot hold: "
            "choose a smaller scale"
        )
    found = scaled.astype(np.float32)
    if target_mean_norm > 0 and mean > 0 and not found.any():
        raise InputError(
            f"a mean row norm of {target_mean_norm:.3g} rounds to 0 in float32: choose a larger "
            "scale"
        )
    return found


def scale_rows(rows: FloatArray, norm: float | None) -> FloatArray:
    """Rescale rows to a mean norm; None leaves them as they are."""
    return rows if norm is None else match_scale(rows, norm)


def scale_and_complete(rows: FloatArray, table: Tensor, norm: float | None) -> FloatArray:
    """Rescale rows to a mean norm and keep the table's random values in columns without a start.

    Columns that were zero for users and items alike would have no gradient and stay zero for ever.
    The random values keep their size, unless that exceeds these columns' share of the norm. The
    limit prevents them from dominating the start.
    """
    filled = rows.any(axis=0)
    n_spare = int((~filled).sum())
    if n_spare in {0, rows.shape[1]}:
        return scale_rows(rows, norm)
    whole = gather(table)
    own = whole.detach().float().cpu().numpy()[:, ~filled]
    own_norm = float(row_norms(own).mean())
    if norm is None:
        start_norm = float(row_norms(rows).mean())
        share = start_norm * (n_spare / (rows.shape[1] - n_spare)) ** 0.5
    else:
        share = norm * (n_spare / rows.shape[1]) ** 0.5
    spare_norm = min(own_norm, share)
    completed = np.array(
        scale_rows(rows, None if norm is None else (norm**2 - spare_norm**2) ** 0.5),
        dtype=np.float32,
    )
    completed[:, ~filled] = own * np.float32(spare_norm / own_norm if own_norm else 0.0)
    return scale_rows(completed, norm)


@torch.no_grad()
def match_norm_(table: Tensor, like: Tensor) -> None:
    """Rescale a table to the mean row norm of another, in place.

    Parameters
    ----------
    table : Tensor, shape (n, d)
        The table to rescale.
    like : Tensor, shape (m, e)
        The table whose norm it gets.

    See Also
    --------
    match_scale : The same for arrays and a given norm.

    Examples
    --------
    >>> import torch
    >>> table = torch.ones(2, 4)
    >>> match_norm_(table, torch.eye(3))
    >>> table.norm(dim=1)
    tensor([1., 1.])
    """
    table.mul_(mean_norm(like) / mean_norm(table))


def mean_norm(table: Tensor) -> float:
    """Return the mean Euclidean norm of the rows of a table, also of a distributed one."""
    norm = table.detach().norm(dim=1).mean()
    return float(gather(norm))
