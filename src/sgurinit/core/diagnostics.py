"""What a fit reports about itself: sizes, norms, policies that applied, the semantic gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import Float32Array, FloatArray
from sgurinit.core.inputs.features import ItemFeatures, row_blocks, row_norms
from sgurinit.core.inputs.interactions import ParsedInteractions
from sgurinit.core.semantic_gap import Gap, semantic_gap
from sgurinit.core.steps.aggregate import user_degrees
from sgurinit.core.steps.space import FittedSpace, Space


@dataclass(frozen=True)
class ModalityDiagnostics:
    """Facts about one space.

    Parameters
    ----------
    cluster_sizes : tuple of int
        Items per cluster.
    user_mean_norm, item_mean_norm : float
        Mean Euclidean row norm of the users and of the (prepared) items that have a row.
    users_without_featured_items : int
        Users with interactions, none of them on an item with a row in this space. They start from
        the popularity-weighted mean of the centroids.
    items_without_features : int
        Items without a row; their users' sums skip them and are renormalised.
    zero_rows : int
        Items whose row is all zero; preprocessing and the joint space leave them zero.
    constant_rows : int
        Items whose row repeats one value other than zero; used as they are.
    gap_before, gap_after : Gap
        Semantic gap of random normal users of the same mean norm, and of the start.
    """

    cluster_sizes: tuple[int, ...]
    user_mean_norm: float
    item_mean_norm: float
    users_without_featured_items: int
    items_without_features: int
    zero_rows: int
    constant_rows: int
    gap_before: Gap
    gap_after: Gap


@dataclass(frozen=True)
class Diagnostics:
    """Facts about one fit.

    Parameters
    ----------
    n_users, n_items, n_interactions : int
        Size of the training interactions, each counted once.
    users_without_interactions : int
        Users that start from the popularity-weighted mean of the centroids.
    items_without_interactions : int
        Items that no user has in training; they take part in the clusters only.
    duplicate_interactions : int
        Interactions that were given more than once and counted once.
    modalities : mapping of str to ModalityDiagnostics
        Facts per modality.
    joint : ModalityDiagnostics or None
        Facts about the joint space, where one was asked for at fit.
    """

    n_users: int
    n_items: int
    n_interactions: int
    users_without_interactions: int
    items_without_interactions: int
    duplicate_interactions: int
    modalities: Mapping[str, ModalityDiagnostics]
    joint: ModalityDiagnostics | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Diagnostics:
        """Rebuild what `to_dict` returned; a missing or unknown field is a TypeError."""
        counts = {key: facts[key] for key in facts if key not in ("modalities", "joint")}
        modalities = {name: _modality(part) for name, part in facts["modalities"].items()}
        joint = facts["joint"]
        return cls(
            **counts,
            modalities=modalities,
            joint=None if joint is None else _modality(joint),
        )


def diagnose(
    interactions: ParsedInteractions,
    spaces: Mapping[str, FittedSpace],
    joint: FittedSpace | None,
) -> Diagnostics:
    """Collect the facts about a fit.

    Parameters
    ----------
    interactions : ParsedInteractions
        Training interactions.
    spaces : mapping of str to FittedSpace
        Space of each modality.
    joint : FittedSpace or None
        Joint space, where one was asked for at fit.

    Returns
    -------
    Diagnostics
    """
    matrix = interactions.matrix
    n_users, n_items = (int(size) for size in matrix.shape)
    return Diagnostics(
        n_users=n_users,
        n_items=n_items,
        n_interactions=int(matrix.nnz),
        users_without_interactions=int((user_degrees(matrix) == 0).sum()),
        items_without_interactions=n_items - len(np.unique(matrix.indices)),
        duplicate_interactions=interactions.duplicates,
        modalities={name: _diagnose_space(matrix, *parts) for name, parts in spaces.items()},
        joint=None if joint is None else _diagnose_space(matrix, *joint),
    )


def _diagnose_space(
    matrix: sp.csr_array, table: ItemFeatures, space: Space, users: Float32Array
) -> ModalityDiagnostics:
    featured = space.featured(matrix)
    without = (user_degrees(featured) == 0) & (user_degrees(matrix) > 0)
    zero, constant = _odd_rows(table.rows())
    before, after = semantic_gap(featured, space.items.rows, users, space.parameters.seed)
    sizes = np.bincount(space.items.labels, minlength=len(space.items.centroids))
    return ModalityDiagnostics(
        cluster_sizes=tuple(int(size) for size in sizes),
        user_mean_norm=float(row_norms(users).mean()),
        item_mean_norm=float(row_norms(space.items.rows).mean()),
        users_without_featured_items=int(without.sum()),
        items_without_features=table.n_items - table.n_present,
        zero_rows=zero,
        constant_rows=constant,
        gap_before=before,
        gap_after=after,
    )


def _odd_rows(rows: FloatArray) -> tuple[int, int]:
    """Count the all-zero rows, and the rows that repeat one other value over several columns."""
    zero = constant = 0
    for _, block in row_blocks(rows):
        empty = ~block.any(axis=1)
        zero += int(empty.sum())
        if block.shape[1] > 1:
            constant += int(((block == block[:, :1]).all(axis=1) & ~empty).sum())
    return zero, constant


def _modality(facts: Mapping[str, Any]) -> ModalityDiagnostics:
    fields = dict(facts)
    fields["cluster_sizes"] = tuple(fields["cluster_sizes"])
    for name in ("gap_before", "gap_after"):
        fields[name] = Gap(**fields[name])
    return ModalityDiagnostics(**fields)
