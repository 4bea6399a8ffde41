"""Joint reduction of all modalities to one width, and scale matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sgurinit.core.features import (
    BoolArray,
    Float32Array,
    Float64Array,
    FloatArray,
    ItemFeatures,
    row_blocks,
    row_norms,
)
from sgurinit.core.pca import principal_rows
from sgurinit.core.prepare import unit
from sgurinit.core.spectral import Parts, spectral_items
from sgurinit.errors import InputError


def reduce_items(
    features: Mapping[str, ItemFeatures], dim: int, n_jobs: int | None = None
) -> tuple[Float32Array, BoolArray]:
    """Reduce the features of all modalities to one table of the given width.

    Each modality is centred, its rows go to unit length and to their leading principal
    coordinates (at most `dim`), and the block is scaled to a mean row norm of one; the blocks are
    joined and reduced to `dim` by PCA. An item without a row, or with an all-zero one, has zeros in
    that block. Where the features span fewer than `dim` directions, the columns beyond are zero.

    Parameters
    ----------
    features : mapping of str to ItemFeatures
        All modalities.
    dim : int, >= 1
        Width of the result.
    n_jobs : int, optional
        Threads, as in scikit-learn.

    Returns
    -------
    items : ndarray of float32, shape (n_items, dim)
        Reduced items; zero for an item without a row in any modality.
    present : ndarray of bool, shape (n_items,)
        Items with a row in at least one modality.

    Raises
    ------
    InputError
        When all items have the same features.
    """
    joined = np.hstack([_block(table, dim, n_jobs) for table in features.values()])
    present: BoolArray = np.logical_or.reduce([table.mask() for table in features.values()])
    described = joined if present.all() else joined[present]
    principal = principal_rows(described, dim, n_jobs=n_jobs) if joined.shape[1] else None
    rank = 0 if principal is None else principal.rows.shape[1]
    if principal is None or rank == 0:
        raise InputError("all items have the same features, so there is nothing to reduce")
    items = np.zeros((len(present), dim), dtype=np.float32)
    items[present, :rank] = principal.rows
    return items, present


def describe_items(
    parts: Parts,
    degrees: Float64Array,
    features: Mapping[str, ItemFeatures],
    dim: int,
    *,
    collaborative: float,
    n_jobs: int | None = None,
    listen: Callable[[int], object] | None = None,
) -> tuple[Float32Array, BoolArray]:
    """Describe all items in one table of the given width: by who uses them, and by content.

    The first ``round(collaborative * dim)`` columns are `spectral_items`, the others
    `reduce_items`, each block scaled to a mean row norm of one over the items that have a row in
    it.

    Parameters
    ----------
    parts, degrees, n_jobs, listen
        Training interactions, see `spectral_items`.
    features : mapping of str to ItemFeatures
        All modalities.
    dim : int, >= 1
        Width of the result.
    collaborative : float in [0, 1]
        Share of the columns that tell who uses an item.

    Returns
    -------
    items : ndarray of float32, shape (n_items, dim)
        Described items.
    present : ndarray of bool, shape (n_items,)
        Items with a row in at least one modality or with any entry in the table.

    Raises
    ------
    InputError
        When content is asked for and all items have the same features.
    """
    n_spectral = round(collaborative * dim)
    if n_spectral == 0:
        return reduce_items(features, dim, n_jobs)
    spectral = spectral_items(parts, degrees, n_spectral, n_jobs=n_jobs, listen=listen)
    used: BoolArray = np.asarray(spectral.any(axis=1))
    blocks = [_unit_mean(spectral, used)]
    present: BoolArray = np.logical_or.reduce([used, *(t.mask() for t in features.values())])
    if n_spectral < dim:
        content, featured = reduce_items(features, dim - n_spectral, n_jobs)
        blocks.append(_unit_mean(content, featured))
    return np.hstack(blocks), present


def _unit_mean(block: Float32Array, present: NDArray[np.bool_]) -> Float32Array:
    """Scale a block to a mean row norm of one over the rows that are there."""
    mean = float(row_norms(block[present]).mean())
    return (block / mean).astype(np.float32)


def match_scale(rows: FloatArray, target_mean_norm: float) -> Float32Array:
    """Rescale a table so that its mean row norm is `target_mean_norm`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Any table; an all-zero one stays zero.
    target_mean_norm : float, >= 0
        Mean Euclidean row norm of the result.

    Returns
    -------
    ndarray of float32, shape (n, d)

    Raises
    ------
    InputError
        When the target is negative or not finite.
    """
    if not np.isfinite(target_mean_norm) or target_mean_norm < 0:
        raise InputError(f"target_mean_norm must be finite and >= 0, got {target_mean_norm!r}")
    mean = float(row_norms(rows).mean()) if len(rows) else 0.0
    factor = target_mean_norm / mean if mean > 0 else 1.0
    scaled: NDArray[np.float32] = (rows.astype(np.float64) * factor).astype(np.float32)
    return scaled


def _block(table: ItemFeatures, dim: int, n_jobs: int | None) -> Float64Array:
    """Return one modality's block, shape (n_items, r), zero where the item has no row."""
    rows = table.rows()
    filled = np.concatenate([block.any(axis=1) for _, block in row_blocks(rows)])
    where = np.flatnonzero(table.mask())[filled]
    if not len(where):
        return np.zeros((table.n_items, 0))
    rows = rows if filled.all() else rows[filled]
    mean = sum((part.sum(axis=0) for _, part in row_blocks(rows)), np.zeros(table.width))
    mean /= len(rows)
    principal = principal_rows(rows, dim, step=lambda part: unit(part - mean), n_jobs=n_jobs).rows
    block = np.zeros((table.n_items, principal.shape[1]))
    if principal.shape[1]:
        block[where] = principal / np.linalg.norm(principal, axis=1).mean()
    return block
