"""Optional preprocessing of the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sgurinit.core.inputs.arrays import Float64Array, FloatArray
from sgurinit.core.steps.pca import compute_principal_rows
from sgurinit.core.steps.processor import NUMPY, Own, Processor


def preprocess_rows(rows: FloatArray, steps: Sequence[str]) -> FloatArray:
    """Apply preprocessing steps, in order, to the rows of one modality.

    All-zero rows carry no information. They stay zero and do not enter the statistics. Without
    steps the rows are returned unchanged.

    Parameters
    ----------
    rows : ndarray of shape (n_present, d)
        Rows of the items that have one.
    steps : sequence of {"center", "unit", "whiten"}
        ``center`` subtracts the mean row. ``unit`` scales rows to unit length. ``whiten`` rotates
        rows to their principal axes and scales these to unit variance; the columns beyond the rank
        are zero.

    Returns
    -------
    ndarray of shape (n_present, d)
        float64 if there is a step.
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


def center_rows(rows: Float64Array) -> Float64Array:
    """Subtract the mean row."""
    centered: Float64Array = rows - rows.mean(axis=0)
    return centered


def normalize_rows(rows: Own, processor: Processor = NUMPY) -> Own:
    """Scale every row to unit length; a zero row stays zero."""
    xp = processor.xp
    norms = xp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / xp.where(norms > 0, norms, 1.0)


def whiten_rows(rows: Float64Array) -> Float64Array:
    """Center, rotate to principal axes of unit variance; columns beyond the rank are zero."""
    principal = compute_principal_rows(rows)
    whitened = np.zeros_like(rows)
    whitened[:, : principal.rows.shape[1]] = principal.rows / principal.deviations
    return whitened


_STEPS: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "center": center_rows,
    "unit": normalize_rows,
    "whiten": whiten_rows,
}
