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
    item_degrees,
    item_weights,
    popular_centroid,
    user_rows,
)
from sgurinit.core.steps.clusters import Clusters, cluster_rows
from sgurinit.core.steps.preprocess import preprocess_rows
from sgurinit.errors import InputError


@dataclass(frozen=True, eq=False)
class Space:
    """A fitted space: everything that turns interactions into users' rows.

    Parameters
    ----------
    items : ItemSide
        Rows, clusters and weights of the items that have a row.
    present : ndarray of bool, shape (n_items,)
        Which items these are.
    parameters : Parameters
        Parameters of the fit.
    """

    items: ItemSide
    present: BoolArray
    parameters: Parameters

    @classmethod
    def fit(
        cls, degrees: Float64Array, table: ItemFeatures, parameters: Parameters, *, preprocess: bool
    ) -> Space:
        """Prepare and cluster the items, and weigh them by the training interactions.

        Parameters
        ----------
        degrees : ndarray of float64, shape (n_items,)
            Users of each item in training.
        table : ItemFeatures
            Items of this space.
        parameters : Parameters
            Parameters of the method.
        preprocess : bool
            Whether the preparation steps apply to these items.

        Returns
        -------
        Space

        Raises
        ------
        InputError
            When no interaction touches an item with a row, or K is too large.
        """
        present = table.mask()
        degrees = degrees[present]
        if not degrees.any():
            raise InputError(
                "no training interaction touches an item that has a feature row: check that the "
                "rows of the features are in the order of the items"
            )
        rows = preprocess_rows(table.rows(), parameters.preprocess if preprocess else ())
        labels, centroids = cluster_rows(
            rows, parameters.n_clusters, parameters.seed, parameters.kmeans
        )
        items = ItemSide(
            rows=rows,
            labels=labels,
            centroids=centroids,
            weights=item_weights(degrees, parameters.local_norm),
            fallback=popular_centroid(degrees, labels, centroids),
        )
        return cls(items, present, parameters)

    def after(self, matrix: sp.csr_array) -> Space:
        """Weigh the same items by other training interactions."""
        degrees = item_degrees(matrix)[self.present]
        items = replace(
            self.items,
            weights=item_weights(degrees, self.parameters.local_norm),
            fallback=popular_centroid(degrees, self.items.labels, self.items.centroids),
        )
        return replace(self, items=items)

    def featured(self, matrix: sp.csr_array) -> sp.csr_array:
        """Interactions with the items of this space, shape (n_users, n_present)."""
        return matrix if bool(self.present.all()) else sp.csr_array(matrix[:, self.present])

    def users(self, matrix: sp.csr_array, n_jobs: int | None = None) -> Float32Array:
        """Users' rows for the given interactions, shape (n_users, d)."""
        return user_rows(
            self.featured(matrix),
            self.items,
            local_weight=self.parameters.local_weight,
            local_norm=self.parameters.local_norm,
            n_jobs=n_jobs,
        )

    def clusters(self) -> Clusters:
        """Clusters over all items; label -1 marks an item without a row."""
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
    """

    table: ItemFeatures
    space: Space
    users: Float32Array
