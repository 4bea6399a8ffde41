"""The frozen item-item graph of FREEDOM, which DRAGON and MENTOR share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import scipy.sparse as sp

from sgurinit.errors import InputError
from sgurinit.models.blocks.graphs import Sparse, knn_graph

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


def shares(modalities: list[str], named: Mapping[str, float]) -> dict[str, float]:
    """Weights of all modalities, sum 1: named ones as given, the others share the rest equally.

    Names that the data set does not have are ignored, so that one config serves data sets with
    other modalities. Where no modality is left to take the rest, the named weights are scaled to
    sum 1.

    Raises
    ------
    InputError
        The named weights leave less than nothing for the others, or are all zero.
    """
    given = {modality: named[modality] for modality in modalities if modality in named}
    others = [modality for modality in modalities if modality not in named]
    total = sum(given.values())
    if total > 1 and others:
        raise InputError(
            f"graph_weights of {', '.join(given)} sum to {total:g}, which leaves nothing for "
            f"{', '.join(others)}; make them sum to 1 at most"
        )
    if total == 0 and not others:
        raise InputError(f"graph_weights of {', '.join(given)} are all 0; make one larger")
    if others:
        rest = (1 - total) / len(others)
        return {modality: given.get(modality, rest) for modality in modalities}
    return {modality: weight / total for modality, weight in given.items()}
