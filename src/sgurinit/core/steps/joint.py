"""Items of the joint space: all modalities, and who uses the items, at one width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sgurinit.core.content_agreement import compute_content_agreement
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, Float64Array, FloatArray
from sgurinit.core.inputs.features import ItemFeatures, iter_row_blocks
from sgurinit.core.params import Parameters
from sgurinit.core.steps.collaborative import InteractionParts, PartSums, find_directions
from sgurinit.core.steps.held_out import ItemModelSettings, choose_settings, sample_users
from sgurinit.core.steps.item_model import fit_item_model, reduce_item_model
from sgurinit.core.steps.new_items import place_by_content
from sgurinit.core.steps.pca import compute_principal_rows
from sgurinit.core.steps.preprocess import normalize_rows
from sgurinit.core.steps.processor import NUMPY, Processor
from sgurinit.errors import InputError

DIRECTIONS_PER_COLUMN = 4
"""Directions of the interactions per column of the joint space, by default."""
CONTENT_WIDTH = 2
"""Columns of the content per column of a collaborative joint space."""


def compute_content_items(
    features: Mapping[str, ItemFeatures],
    dim: int,
    n_jobs: int | None = None,
    processor: Processor = NUMPY,
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
    processor : Processor
        What computes.

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
    blocks = [reduce_modality(table, dim, n_jobs, processor) for table in features.values()]
    present: BoolArray = np.logical_or.reduce([table.mask() for table in features.values()])
    return _join_blocks(blocks, present, dim, n_jobs, processor), present


def _join_blocks(
    blocks: Sequence[Float64Array],
    present: BoolArray,
    dim: int,
    n_jobs: int | None,
    processor: Processor,
) -> Float32Array:
    """Join blocks and reduce the rows that are present to `dim` columns, shape (n_items, dim)."""
    joined = np.hstack(blocks)
    rows = joined if present.all() else joined[present]
    principal = None
    if joined.shape[1]:
        principal = compute_principal_rows(rows, dim, n_jobs=n_jobs, processor=processor)
    rank = 0 if principal is None else principal.rows.shape[1]
    if principal is None or rank == 0:
        raise InputError("all items have the same features, so there is nothing to reduce")
    items = np.zeros((len(present), dim), dtype=np.float32)
    items[present, :rank] = principal.rows
    return items


class JointItems(NamedTuple):
    """Items of the joint space.

    Attributes
    ----------
    rows : ndarray of float32, shape (n_items, dim)
        Their rows.
    present : ndarray of bool, shape (n_items,)
        Items that have a row.
    settings : ItemModelSettings or None
        Settings of the item model; None where the joint space only has content.
    """

    rows: Float32Array
    present: BoolArray
    settings: ItemModelSettings | None = None


def compute_joint_items(
    parts: InteractionParts,
    degrees: Float64Array,
    features: Mapping[str, ItemFeatures],
    dim: int,
    parameters: Parameters,
    *,
    n_jobs: int | None = None,
    on_pass: Callable[[int], object] | None = None,
    processor: Processor = NUMPY,
) -> JointItems:
    """Put all items into one table of the given width.

    Without ``parameters.collaborative`` it is `compute_content_items`, else
    `compute_collaborative_items` on the content at twice the width.

    Parameters
    ----------
    parts : sequence of callables
        Each returns the binary training interactions of some users, a csr_array of shape
        (n_users_in_it, n_items). Together they hold at least one interaction. They are called once
        per pass, so the interactions need not fit into memory.
    degrees : ndarray of float64, shape (n_items,)
        Number of users of each item.
    features : mapping of str to ItemFeatures
        All modalities.
    dim : int >= 1
        Width of the result.
    parameters : Parameters
        Parameters of the method.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.
    on_pass : callable, optional
        Called with the number of passes over the interactions so far.
    processor : Processor
        What computes.

    Returns
    -------
    JointItems

    Raises
    ------
    InputError
        The content is used and all items have the same features, no items go together, or the
        processor lacks memory.
    """
    with processor.explain_memory():
        if not parameters.collaborative:
            return JointItems(*compute_content_items(features, dim, n_jobs, processor))
        blocks: dict[str, Float64Array] = {}
        if parameters.content_weight != 0:
            blocks = {
                name: reduce_modality(table, CONTENT_WIDTH * dim, n_jobs, processor)
                for name, table in features.items()
            }
        return compute_collaborative_items(
            parts,
            degrees,
            blocks,
            dim,
            parameters,
            n_jobs=n_jobs,
            on_pass=on_pass,
            processor=processor,
        )


def compute_collaborative_items(
    parts: InteractionParts,
    degrees: Float64Array,
    blocks: Mapping[str, Float64Array],
    dim: int,
    parameters: Parameters,
    *,
    n_jobs: int | None = None,
    on_pass: Callable[[int], object] | None = None,
    processor: Processor = NUMPY,
) -> JointItems:
    """Describe items by who uses them and what they are, see `fit_item_model`.

    The modalities count as much as their nearest neighbors share users, beyond chance, see
    `compute_content_agreement`. Settings that `parameters` leaves open are chosen on held-out
    interactions, see `choose_settings`. The model is reduced to `dim` columns, see
    `reduce_item_model`, and scaled to a mean row norm of one. An item without interactions is
    placed at used items with similar content, see `place_by_content`. None of this is part of
    SG-URInit.

    Parameters
    ----------
    parts, degrees, dim, parameters, n_jobs, on_pass, processor
        See `compute_joint_items`.
    blocks : mapping of str to ndarray of float64, shape (n_items, w)
        Modalities, as `reduce_modality` returns them; none for a model without content.

    Returns
    -------
    JointItems

    Raises
    ------
    InputError
        The content is used and all items have the same features, or no items go together.
    """
    rank = parameters.collaborative_rank or DIRECTIONS_PER_COLUMN * dim
    with PartSums(parts, n_jobs, on_pass, processor) as sums:
        directions = find_directions(sums, degrees, rank)
        sample = sample_users(parts, directions.keys)
        content = np.zeros((len(degrees), 1))
        if blocks:
            content = join_content(
                blocks,
                sample.matrix,
                directions.keys,
                CONTENT_WIDTH * dim,
                n_jobs=n_jobs,
                processor=processor,
            )
        settings = choose_settings(
            sample,
            directions,
            content,
            dim,
            rank,
            penalty=parameters.penalty,
            content_weight=parameters.content_weight,
            n_jobs=n_jobs,
            processor=processor,
        )
        model = fit_item_model(directions, content, *settings, processor)
        del directions  # memory: the largest data need it
        rows = reduce_item_model(model, sums, dim)
    rows, placed = place_by_content(rows, content, degrees, processor=processor)
    present: BoolArray = (degrees > 0) | placed
    if not rows.any():
        raise InputError(
            "collaborative=True found no items that go together, by their users or their content: "
            "leave out `collaborative` and presets that set it"
        )
    rows /= np.linalg.norm(rows[present], axis=1).mean()
    return JointItems(rows.astype(np.float32), present, settings)


def join_content(
    blocks: Mapping[str, Float64Array],
    matrix: sp.csr_array,
    keys: FloatArray,
    width: int,
    *,
    n_jobs: int | None,
    processor: Processor = NUMPY,
) -> Float64Array:
    """Join modalities, each with the weight that its agreement with the interactions deserves.

    Parameters
    ----------
    blocks : mapping of str to ndarray of float64, shape (n_items, w)
        Modalities, as `reduce_modality` returns them; at least one.
    matrix : csr_array of shape (n_users, n_items)
        Binary interactions.
    keys : ndarray of float64, shape (n_items,)
        Numbers that order the items.
    width : int >= 1
        Number of columns, at most.
    n_jobs : int or None
        Threads, as in scikit-learn.
    processor : Processor
        What computes.

    Returns
    -------
    ndarray of float64, shape (n_items, at most width)
        Rows of unit length; zero for an item without content.

    Raises
    ------
    InputError
        All items have the same features.
    """
    weights = _weigh_modalities(blocks, matrix, keys)
    weighted = [np.sqrt(weight) * blocks[name] for name, weight in weights.items()]
    described: BoolArray = np.logical_or.reduce([rows.any(axis=1) for rows in weighted])
    joined = _join_blocks(weighted, described, width, n_jobs, processor)
    rows: Float64Array = normalize_rows(joined[:, joined.any(axis=0)].astype(np.float64))
    return rows


def _weigh_modalities(
    blocks: Mapping[str, Float64Array], matrix: sp.csr_array, keys: FloatArray
) -> dict[str, float]:
    """Weigh each modality by its agreement with the interactions beyond chance; the sum is one.

    A modality at or below chance has no weight, unless all are. The items are measured in the order
    of their keys, because samples of items and ties between neighbors depend on the order.
    """
    order = np.argsort(keys, kind="stable")
    matrix = sp.csr_array(matrix[:, order])
    found = {
        name: compute_content_agreement(matrix, ItemFeatures(rows[order]))
        if rows.shape[1]
        else None
        for name, rows in blocks.items()
    }
    beyond = {
        name: 0.0 if agreement is None else max(agreement.value - agreement.chance, 0.0)
        for name, agreement in found.items()
    }
    total = sum(beyond.values())
    if total == 0:
        return dict.fromkeys(blocks, 1 / len(blocks))
    return {name: value / total for name, value in beyond.items() if value > 0}


def reduce_modality(
    table: ItemFeatures, dim: int, n_jobs: int | None, processor: Processor = NUMPY
) -> Float64Array:
    """Reduce one modality to a block of shape (n_items, r), zero where an item has no row.

    The rows are centered, scaled to unit length and reduced to at most `dim` principal coordinates.
    The block has a mean row norm of one.
    """
    rows = table.rows()
    filled = np.concatenate([block.any(axis=1) for _, block in iter_row_blocks(rows)])
    where = np.flatnonzero(table.mask())[filled]
    if not len(where):
        return np.zeros((table.n_items, 0))
    rows = rows if filled.all() else rows[filled]
    mean = sum((part.sum(axis=0) for _, part in iter_row_blocks(rows)), np.zeros(table.width))
    center = processor.put(mean / len(rows))
    principal = compute_principal_rows(
        rows,
        dim,
        transform=lambda part: normalize_rows(part - center, processor),
        n_jobs=n_jobs,
        processor=processor,
    ).rows
    block = np.zeros((table.n_items, principal.shape[1]))
    if principal.shape[1]:
        block[where] = principal / np.linalg.norm(principal, axis=1).mean()
    return block
