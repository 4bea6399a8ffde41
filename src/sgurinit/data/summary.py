"""Facts about a data set: sizes, degrees, cold items, feature norms and content agreement."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sgurinit.core.content_agreement import ContentAgreement, compute_content_agreement
from sgurinit.core.inputs.features import ItemFeatures, iter_row_blocks
from sgurinit.data.dataset import Dataset


@dataclass(frozen=True)
class ModalitySummary:
    """Facts about one modality, over the items with a row in it.

    See Also
    --------
    summarize : Facts about a data set.
    """

    width: int
    """Number of features, d."""
    dtype: str
    """Type of the stored numbers."""
    mean_row_norm: float
    """Mean Euclidean norm of the rows."""
    norm_of_mean_row: float
    """Norm of the mean row. If it is close to `mean_row_norm`, all rows share one direction."""
    missing_rows: int
    """Number of items without a row."""
    zero_rows: int
    """Number of rows with only zeros."""
    constant_rows: int
    """Number of rows with a single value other than zero."""
    agreement: ContentAgreement | None
    """How well the content tells which items share users. None if fewer than two items can be
    compared."""


@dataclass(frozen=True)
class DatasetSummary:
    """Facts about a data set. Degrees are numbers of training interactions.

    See Also
    --------
    summarize : Computes them.
    """

    name: str
    """Name of the data set."""
    layout: str
    """Layout that it was read from."""
    fingerprint: str
    """SHA-256 of the data, see `Dataset.fingerprint`."""
    n_users: int
    """Number of users."""
    n_items: int
    """Number of items."""
    n_train: int
    """Number of training interactions."""
    n_valid: int
    """Number of validation interactions."""
    n_test: int
    """Number of test interactions."""
    duplicates: int
    """Number of repeated interactions that were dropped on reading, over all splits."""
    density: float
    """Share of all user-item pairs that are training interactions."""
    user_degree_median: float
    """Median degree of the users."""
    user_degree_mean: float
    """Mean degree of the users."""
    user_degree_max: int
    """Largest degree of a user."""
    item_degree_median: float
    """Median degree of the items."""
    item_degree_mean: float
    """Mean degree of the items."""
    item_degree_max: int
    """Largest degree of an item."""
    users_without_train: int
    """Number of users without a training interaction."""
    items_without_train: int
    """Number of items without a training interaction."""
    test_share_on_cold_items: float | None
    """Share of test interactions on items without a training interaction. None if there are no test
    interactions."""
    modalities: dict[str, ModalitySummary]
    """Facts about each modality."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values that JSON can hold."""
        return asdict(self)


def summarize(dataset: Dataset) -> DatasetSummary:
    """Compute facts about a data set: sizes, degrees, cold items, feature norms, and agreement.

    The agreement of content and use takes most of the time, up to a few seconds per modality.

    Parameters
    ----------
    dataset : Dataset
        The data set.

    Returns
    -------
    DatasetSummary
        The facts, as attributes.

    See Also
    --------
    load_dataset : Load a data set.
    sgurinit.core.content_agreement.compute_content_agreement : Measures the agreement.

    Examples
    --------
    >>> from sgurinit.data import summarize, xwines
    >>> facts = summarize(xwines())
    >>> facts.n_users, facts.n_items, facts.user_degree_median
    (8524, 769, 6.0)
    >>> round(facts.modalities["text"].mean_row_norm, 3)
    1.0
    >>> round(facts.modalities["text"].agreement.ratio, 1)
    1.6
    """
    matrix = dataset.train_matrix()
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
        modalities={m: _summarize_modality(f, matrix) for m, f in dataset.features.items()},
    )


def _summarize_modality(feature: ItemFeatures, matrix: sp.csr_array) -> ModalitySummary:
    rows = feature.rows()
    norms, total = np.empty(len(rows)), np.zeros(feature.width)
    constant: NDArray[np.bool_] = np.empty(len(rows), dtype=bool)
    for where, block in iter_row_blocks(rows):
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
        agreement=compute_content_agreement(matrix, feature),
    )
