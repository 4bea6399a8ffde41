"""Items of the joint space: all modalities, and collaborative columns, at one width."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.arrays import BoolArray, Float32Array, Float64Array
from sgurinit.core.inputs.features import ItemFeatures, iter_row_blocks, row_norms
from sgurinit.core.params import Parameters
from sgurinit.core.steps.collaborative import InteractionParts, compute_collaborative_items
from sgurinit.core.steps.pca import compute_principal_rows
from sgurinit.core.steps.preprocess import normalize_rows
from sgurinit.errors import InputError


def compute_content_items(
    features: Mapping[str, ItemFeatures], dim: int, n_jobs: int | None = None
) -> tuple[Float32Array, BoolArray]:
    """Reduce the features of all modalities to one table of the given width.

    Each modality is centered, its rows are scaled to unit length and reduced to their leading
    principal coordinates (at most `dim`), and the block is scaled to a mean row norm of one. The
    blocks are joined and reduced to `dim` columns by PCA. An item without a row, or with an
    all-zero row, has zeros in that block. Columns beyond the directions that the features span are
    zero.

    Parameters
    ----------
    features : mapping of str to ItemFeatures
        All modalities.
    dim : int >= 1
        Width of the result.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.

    Returns
    -------
    items : ndarray of float32, shape (n_items, dim)
        Items; zero for an item without a row in any modality.
    present : ndarray of bool, shape (n_items,)
        Items with a row in at least one modality.

    Raises
    ------
    InputError
        All items have the same features.
    """
    joined = np.hstack([_reduce_modality(table, dim, n_jobs) for table in features.values()])
    present: BoolArray = np.logical_or.reduce([table.mask() for table in features.values()])
    rows = joined if present.all() else joined[present]
    principal = compute_principal_rows(rows, dim, n_jobs=n_jobs) if joined.shape[1] else None
    rank = 0 if principal is None else principal.rows.shape[1]
    if principal is None or rank == 0:
        raise InputError("all items have the same features, so there is nothing to reduce")
    items = np.zeros((len(present), dim), dtype=np.float32)
    items[present, :rank] = principal.rows
    return items, present


def compute_joint_items(
    parts: InteractionParts,
    degrees: Float64Array,
    features: Mapping[str, ItemFeatures],
    dim: int,
    parameters: Parameters,
    *,
    n_jobs: int | None = None,
    on_pass: Callable[[int], object] | None = None,
) -> tuple[Float32Array, BoolArray]:
    """Put all items into one table of the given width: collaborative columns, then content.

    The first ``parameters.count_collaborative(dim)`` columns are `compute_collaborative_items`, the
    others `compute_content_items`. Each block is scaled to a mean row norm of one over the items
    that have a row in it. Without ``parameters.content`` the other columns stay zero.

    Parameters
    ----------
    parts, degrees, n_jobs, on_pass
        See `compute_collaborative_items`.
    features : mapping of str to ItemFeatures
        All modalities.
    dim : int >= 1
        Width of the result.
    parameters : Parameters
        Parameters of the method.

    Returns
    -------
    items : ndarray of float32, shape (n_items, dim)
        Items of the joint space.
    present : ndarray of bool, shape (n_items,)
        Items with a row in at least one modality or a collaborative column.

    Raises
    ------
    InputError
        The table has content columns and all items have the same features.
    """
    n_collaborative = parameters.count_collaborative(dim)
    if n_collaborative == 0:
        return compute_content_items(features, dim, n_jobs)
    rows = compute_collaborative_items(
        parts, degrees, n_collaborative, n_jobs=n_jobs, on_pass=on_pass
    )
    used: BoolArray = np.asarray(rows.any(axis=1))
    items = np.zeros((len(degrees), dim), dtype=np.float32)
    items[:, :n_collaborative] = _scale_to_unit_mean(rows, used)
    present: BoolArray = np.logical_or.reduce([used, *(t.mask() for t in features.values())])
    if parameters.content and n_collaborative < dim:
        content, featured = compute_content_items(features, dim - n_collaborative, n_jobs)
        items[:, n_collaborative:] = _scale_to_unit_mean(content, featured)
    return items, present


def _scale_to_unit_mean(block: Float32Array, present: NDArray[np.bool_]) -> Float32Array:
    """Scale a block to a mean row norm of one over the present rows."""
    mean = float(row_norms(block[present]).mean())
    return (block / mean).astype(np.float32)


def _reduce_modality(table: ItemFeatures, dim: int, n_jobs: int | None) -> Float64Array:
    """Reduce one modality to a block of shape (n_items, r), zero where an item has no row."""
    rows = table.rows()
    filled = np.concatenate([block.any(axis=1) for _, block in iter_row_blocks(rows)])
    where = np.flatnonzero(table.mask())[filled]
    if not len(where):
        return np.zeros((table.n_items, 0))
    rows = rows if filled.all() else rows[filled]
    mean = sum((part.sum(axis=0) for _, part in iter_row_blocks(rows)), np.zeros(table.width))
    mean /= len(rows)
    principal = compute_principal_rows(
        rows, dim, transform=lambda part: normalize_rows(part - mean), n_jobs=n_jobs
    ).rows
    block = np.zeros((table.n_items, principal.shape[1]))
    if principal.shape[1]:
        block[where] = principal / np.linalg.norm(principal, axis=1).mean()
    return block
