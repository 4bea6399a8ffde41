"""The facts about a data set that one wants to see before using it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures, row_blocks
from sgurinit.data.dataset import Dataset


@dataclass(frozen=True)
class ModalitySummary:
    """Facts about one modality, over the items that have a row in it."""

    width: int
    """Number of features, d."""
    dtype: str
    """Type of the stored numbers."""
    mean_row_norm: float
    """Mean Euclidean norm of the rows."""
    norm_of_mean_row: float
    """Norm of the mean row; near `mean_row_norm`, all rows share one dominant direction."""
    missing_rows: int
    """Items without a row."""
    zero_rows: int
    """Rows of zeros alone."""
    constant_rows: int
    """Rows of one value other than zero."""


@dataclass(frozen=True)
class DatasetSummary:
    """Facts about a data set; degrees are numbers of training interactions."""

    name: str
    layout: str
    fingerprint: str
    n_users: int
    n_items: int
    n_train: int
    n_valid: int
    n_test: int
    duplicates: int
    """Repeated interactions that were dropped on reading, over all splits."""
    density: float
    """Share of all user-item pairs that are training interactions."""
    user_degree_median: float
    user_degree_mean: float
    user_degree_max: int
    item_degree_median: float
    item_degree_mean: float
    item_degree_max: int
    users_without_train: int
    items_without_train: int
    test_share_on_cold_items: float | None
    """Share of test interactions on items without a training interaction; None without a test."""
    modalities: dict[str, ModalitySummary]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values that JSON can hold."""
        return asdict(self)


def summary(dataset: Dataset) -> DatasetSummary:
    """Collect the facts about a data set.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    DatasetSummary
    """
    users = np.bincount(dataset.train.users, minlength=dataset.n_users)
    items = dataset.popularity()
    on_cold = items[dataset.test.items] == 0
    return DatasetSummary(
        name=dataset.name,
        layout=dataset.layout,
        fingerprint=dataset.fingerprint,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        n_train=len(dataset.train),
        n_valid=len(dataset.valid),
        n_test=len(dataset.test),
        duplicates=sum(pairs.duplicates for _, pairs in dataset.splits()),
        density=len(dataset.train) / (dataset.n_users * dataset.n_items),
        user_degree_median=float(np.median(users)),
        user_degree_mean=float(users.mean()),
        user_degree_max=int(users.max()),
        item_degree_median=float(np.median(items)),
        item_degree_mean=float(items.mean()),
        item_degree_max=int(items.max()),
        users_without_train=int(np.count_nonzero(users == 0)),
        items_without_train=int(np.count_nonzero(items == 0)),
        test_share_on_cold_items=float(on_cold.mean()) if on_cold.size else None,
        modalities={m: _modality(feature) for m, feature in dataset.features.items()},
    )


def _modality(feature: ItemFeatures) -> ModalitySummary:
    rows = feature.rows()
    norms, total = np.empty(len(rows)), np.zeros(feature.width)
    constant: NDArray[np.bool_] = np.empty(len(rows), dtype=bool)
    for where, block in row_blocks(rows):
        norms[where] = np.linalg.norm(block, axis=1)
        total += block.sum(axis=0)
        constant[where] = (block == block[:, :1]).all(axis=1)
    return ModalitySummary(
        width=feature.width,
        dtype=feature.values.dtype.name,
        mean_row_norm=float(norms.mean()),
        norm_of_mean_row=float(np.linalg.norm(total / len(rows))),
        missing_rows=feature.n_items - feature.n_present,
        zero_rows=int(np.count_nonzero(norms == 0)),
        constant_rows=int(np.count_nonzero(constant & (norms > 0))),
    )
