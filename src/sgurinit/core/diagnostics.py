"""Diagnostics of a fit: sizes, norms, how often each policy applied, and the semantic gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import FloatArray
from sgurinit.core.inputs.features import iter_row_blocks, row_norms
from sgurinit.core.inputs.interactions import ParsedInteractions
from sgurinit.core.semantic_gap import Gap, compute_gaps
from sgurinit.core.steps.aggregate import count_user_degrees
from sgurinit.core.steps.space import FittedSpace


@dataclass(frozen=True)
class ModalityDiagnostics:
    """Diagnostics of one space: a modality, or the joint space.

    Parameters
    ----------
    cluster_sizes : tuple of int
        Number of items in each cluster.
    user_mean_norm, item_mean_norm : float
        Mean Euclidean row norm of the users, and of the preprocessed items that have a row.
    users_without_featured_items : int
        Users with interactions, but with no item that has a row in this space. Their row is the
        popularity-weighted mean of the centroids.
    items_without_features : int
        Items without a row. The sums of their users skip them and are renormalized.
    zero_rows : int
        Items whose row is all zero. Preprocessing and the joint space leave them zero.
    constant_rows : int
        Items whose row repeats one value other than zero. They are used unchanged.
    gap_before : Gap
        Semantic gap of normally distributed random users of the same mean norm.
    gap_after : Gap
        Semantic gap of the start.

    See Also
    --------
    Diagnostics : Holds one per modality.
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
    """Diagnostics of one fit.

    Parameters
    ----------
    n_users, n_items, n_interactions : int
        Size of the training interactions, duplicates counted once.
    users_without_interactions : int
        Users whose row is the popularity-weighted mean of the centroids.
    items_without_interactions : int
        Items without a user in training. They only take part in the clusters.
    duplicate_interactions : int
        Interactions given more than once, beyond the first.
    modalities : mapping of str to ModalityDiagnostics
        Diagnostics of each modality.
    joint : ModalityDiagnostics or None, default None
        Diagnostics of the joint space, where the fit set ``joint_dim``.
    penalty, content_weight : float or None, default None
        Settings of a collaborative joint space, given or chosen.

    See Also
    --------
    UserStart : Holds them as ``diagnostics``.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> facts = SGURInit(random_state=0).fit(planted(200, 100)).start_.diagnostics
    >>> facts.n_users, facts.modalities["text"].zero_rows
    (200, 0)
    """

    n_users: int
    n_items: int
    n_interactions: int
    users_without_interactions: int
    items_without_interactions: int
    duplicate_interactions: int
    modalities: Mapping[str, ModalityDiagnostics]
    joint: ModalityDiagnostics | None = None
    penalty: float | None = None
    content_weight: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnostics as a dictionary that JSON can hold.

        See Also
        --------
        from_dict : The inverse.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Diagnostics:
        """Rebuild the diagnostics from what `to_dict` returned.

        Raises
        ------
        KeyError, TypeError
            A field is missing or unknown.

        See Also
        --------
        to_dict : The inverse.
        """
        counts = {key: facts[key] for key in facts if key not in ("modalities", "joint")}
        modalities = {name: _rebuild_modality(part) for name, part in facts["modalities"].items()}
        joint = facts["joint"]
        return cls(
            **counts,
            modalities=modalities,
            joint=None if joint is None else _rebuild_modality(joint),
        )


def diagnose(
    interactions: ParsedInteractions,
    spaces: Mapping[str, FittedSpace],
    joint: FittedSpace | None,
) -> Diagnostics:
    """Compute the diagnostics of a fit.

    Parameters
    ----------
    interactions : ParsedInteractions
        Training interactions.
    spaces : mapping of str to FittedSpace
        Space of each modality.
    joint : FittedSpace or None
        Joint space, where the fit set ``joint_dim``.

    Returns
    -------
    Diagnostics
    """
    matrix = interactions.matrix
    n_users, n_items = (int(size) for size in matrix.shape)
    settings = None if joint is None else joint.settings
    return Diagnostics(
        n_users=n_users,
        n_items=n_items,
        n_interactions=int(matrix.nnz),
        users_without_interactions=int((count_user_degrees(matrix) == 0).sum()),
        items_without_interactions=n_items - len(np.unique(matrix.indices)),
        duplicate_interactions=interactions.duplicates,
        modalities={name: _diagnose_space(matrix, space) for name, space in spaces.items()},
        joint=None if joint is None else _diagnose_space(matrix, joint),
        penalty=None if settings is None else settings.penalty,
        content_weight=None if settings is None else settings.content_weight,
    )


def _diagnose_space(matrix: sp.csr_array, fitted: FittedSpace) -> ModalityDiagnostics:
    table, space, users = fitted.table, fitted.space, fitted.users
    featured = space.select_present(matrix)
    without = (count_user_degrees(featured) == 0) & (count_user_degrees(matrix) > 0)
    zero, constant = _count_zero_and_constant_rows(table.rows())
    before, after = compute_gaps(featured, space.items.rows, users, space.parameters.seed)
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


def _count_zero_and_constant_rows(rows: FloatArray) -> tuple[int, int]:
    """Count the all-zero rows, and the rows that repeat one other value over several columns."""
    zero = constant = 0
    for _, block in iter_row_blocks(rows):
        empty = ~block.any(axis=1)
        zero += int(empty.sum())
        if block.shape[1] > 1:
            constant += int(((block == block[:, :1]).all(axis=1) & ~empty).sum())
    return zero, constant


def _rebuild_modality(facts: Mapping[str, Any]) -> ModalityDiagnostics:
    fields = dict(facts)
    fields["cluster_sizes"] = tuple(fields["cluster_sizes"])
    for name in ("gap_before", "gap_after"):
        fields[name] = Gap(**fields[name])
    return ModalityDiagnostics(**fields)
