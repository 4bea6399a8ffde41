"""Optional preparation of the features before the method's first step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sgurinit.core.inputs.arrays import Float64Array, FloatArray
from sgurinit.core.steps.pca import principal_rows


def preprocess_rows(rows: FloatArray, steps: Sequence[str]) -> FloatArray:
    """Apply preparation steps, in order, to the rows of one modality.

    All-zero rows carry no meaning: they stay zero and do not enter the statistics. Without steps
    the rows are returned as they are.

    Parameters
    ----------
    rows : ndarray of shape (n_present, d)
        Rows of the items that have one.
    steps : sequence of {"center", "unit", "whiten"}
        ``center`` subtracts the mean row; ``unit`` scales rows to unit length; ``whiten`` gives the
        principal coordinates unit variance, directions without variance becoming zero columns.

    Returns
    -------
    ndarray of shape (n_present, d)
        float64 where there was a step.
    """
    if not steps:
        return rows
    prepared = np.array(rows, dtype=np.float64, order="C")
    filled = prepared.any(axis=1)
    if not filled.any():
        return prepared
    part = prepared[filled]
    for step in steps:
        part = _STEPS[step](part)
    prepared[filled] = part
    return prepared


def center(rows: Float64Array) -> Float64Array:
    """Subtract the mean row."""
    centred: Float64Array = rows - rows.mean(axis=0)
    return centred


def unit(rows: Float64Array) -> Float64Array:
    """Scale every row to unit length; a zero row stays zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Float64Array = rows / np.where(norms > 0, norms, 1.0)
    return scaled


def whiten(rows: Float64Array) -> Float64Array:
    """Centre and turn to principal axes of unit variance; columns beyond the rank are zero."""
    principal = principal_rows(rows)
    whitened = np.zeros_like(rows)
    whitened[:, : principal.rows.shape[1]] = principal.rows / principal.deviations
    return whitened


_STEPS: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "center": center,
    "unit": unit,
    "whiten": whiten,
}
