"""The frozen item-item graph of FREEDOM, which DRAGON and MENTOR share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import scipy.sparse as sp

from sgurinit.models.freedom import shares
from sgurinit.models.graphs import Sparse, knn_graph

if TYPE_CHECKING:
    from sgurinit.data import Dataset


def frozen_item_graph(dataset: Dataset, k: int, weights: Mapping[str, float]) -> Sparse:
    """Weighted sum of the modalities' unweighted, symmetrically normalised kNN graphs.

    Parameters
    ----------
    dataset
        Whose features to compare.
    k
        Neighbours per item and modality.
    weights
        Share of a modality; those not named share the rest, see `shares`.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_items, n_items)``.
    """
    of = shares(list(dataset.features), weights)
    return sum(
        (
            of[name] * knn_graph(features, k, weighted=False)
            for name, features in dataset.features.items()
        ),
        start=sp.csr_array((dataset.n_items, dataset.n_items)),
    )
