"""One space of the method: items with rows, their clusters, and users aggregated from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import BoolArray, Float32Array, Float64Array
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.params import Parameters
from sgurinit.core.steps.aggregate import (
    ItemSide,
    aggregate_users,
    compute_fallback,
    compute_item_weights,
    count_item_degrees,
)
from sgurinit.core.steps.clusters import Clusters, cluster_rows
from sgurinit.core.steps.held_out import ItemModelSettings
from sgurinit.core.steps.preprocess import preprocess_rows
from sgurinit.core.steps.processor import NUMPY, Processor
from sgurinit.errors import InputError


@dataclass(frozen=True, eq=False)
class Space:
    """A fitted space, which turns interactions into users' rows.

    Parameters
    ----------
    items : ItemSide
        Rows, clusters and weights of the items that have a row.
    present : ndarray of bool, shape (n_items,)
        Which items have a row.
    parameters : Parameters
        Parameters of the fit.
    """

    items: ItemSide
    present: BoolArray
    parameters: Parameters

    @classmethod
    def fit(
        cls,
        degrees: Float64Array,
        table: ItemFeatures,
        parameters: Parameters,
        *,
        preprocess: bool,
        processor: Processor = NUMPY,
    ) -> Space:
        """Preprocess and cluster the items, and compute their weights.

        Parameters
        ----------
        degrees : ndarray of float64, shape (n_items,)
            Number of users of each item in training.
        table : ItemFeatures
            Items of this space.
        parameters : Parameters
            Parameters of the method.
        preprocess : bool
            Whether to apply the preprocessing steps to these items.
        processor : Processor
            What computes.

        Returns
        -------
        Space

        Raises
        ------
        InputError
            No interaction is with an item that has a row, K is too large, or the processor lacks
            memory.
        """
        present = table.mask()
        degrees = degrees[present]
        if not degrees.any():
            raise InputError(
                "no training interaction is with an item that has a feature row: check that the "
                "rows of the features are in the order of the items"
            )
        rows = preprocess_rows(table.rows(), parameters.preprocess if preprocess else ())
        with processor.explain_memory():
            labels, centroids = cluster_rows(
                rows, parameters.n_clusters, parameters.seed, parameters.kmeans, processor
            )
        items = ItemSide(
            rows=rows,
            labels=labels,
            centroids=centroids,
            weights=compute_item_weights(degrees, parameters.local_norm),
            fallback=compute_fallback(degrees, labels, centroids),
        )
        return cls(items, present, parameters)

    def reweight(self, matrix: sp.csr_array) -> Space:
        """Return the space with the item weights of other training interactions."""
        degrees = count_item_degrees(matrix)[self.present]
        items = replace(
            self.items,
            weights=compute_item_weights(degrees, self.parameters.local_norm),
            fallback=compute_fallback(degrees, self.items.labels, self.items.centroids),
        )
        return replace(self, items=items)

    def select_present(self, matrix: sp.csr_array) -> sp.csr_array:
        """Select the interactions with items of this space, shape (n_users, n_present)."""
        return matrix if bool(self.present.all()) else sp.csr_array(matrix[:, self.present])

    def compute_users(
        self, matrix: sp.csr_array, n_jobs: int | None = None, processor: Processor = NUMPY
    ) -> Float32Array:
        """Compute the users' rows for the given interactions, shape (n_users, d)."""
        with processor.explain_memory():
            return aggregate_users(
                self.select_present(matrix),
                self.items,
                local_weight=self.parameters.local_weight,
                local_norm=self.parameters.local_norm,
                n_jobs=n_jobs,
                processor=processor,
            )

    def to_clusters(self) -> Clusters:
        """Return the clusters with a label for all items, -1 for an item without a row."""
        labels = np.full(len(self.present), -1, dtype=np.int32)
        labels[self.present] = self.items.labels
        return Clusters(self.items.centroids.astype(np.float32), labels)


class FittedSpace(NamedTuple):
    """A space with the items that it was fitted on and the users in it.

    Attributes
    ----------
    table : ItemFeatures
        Items as given.
    space : Space
        The fitted space.
    users : ndarray of float32, shape (n_users, d)
        Users' rows.
    settings : ItemModelSettings or None
        Settings of the item model of a collaborative joint space.
    """

    table: ItemFeatures
    space: Space
    users: Float32Array
    settings: ItemModelSettings | None = None
