"""One space on Spark: its items, their clusters and the formula of the users' rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.inputs.arrays import Float64Array
from sgurinit.core.params import Parameters
from sgurinit.errors import InputError
from sgurinit.spark.batches.items import (
    Transform,
    assign_clusters,
    transform_vectors,
    unpack_vectors,
)
from sgurinit.spark.batches.sums import sum_clusters
from sgurinit.spark.batches.users import UserFormula
from sgurinit.spark.frames import id_type
from sgurinit.spark.kmeans import find_centroids
from sgurinit.spark.moments import collect_totals
from sgurinit.spark.stages import Stages


@dataclass(frozen=True, eq=False)
class SparkSpace:
    """A fitted space.

    Parameters
    ----------
    items : DataFrame
        Columns item, vector (preprocessed, packed float32), degree (users in training) and cluster,
        of the items that have a row.
    centroids : ndarray of float64, shape (K, d)
        Centroids.
    sizes : ndarray of int64, shape (K,)
        Number of items of each cluster.
    interactions : ndarray of float64, shape (K,)
        Number of training interactions with the items of each cluster.
    """

    items: DataFrame
    centroids: Float64Array
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]]
    interactions: Float64Array

    def make_formula(self, parameters: Parameters) -> UserFormula:
        """Make the formula of the users' rows."""
        shares = self.interactions / self.interactions.sum()
        return UserFormula(
            centroids=self.centroids,
            fallback=shares @ self.centroids,
            local_weight=parameters.local_weight,
            power=-0.5 if parameters.local_norm == "sym" else -1.0,
        )

    def unpack_items(self) -> DataFrame:
        """Return the items with vectors as arrays of float."""
        item = id_type(self.items.schema["item"].dataType)
        schema = f"item {item}, degree long, vector array<float>, cluster int"
        return self.items.mapInArrow(partial(unpack_vectors, dtype="float32"), schema)


@dataclass(frozen=True, eq=False)
class SparkFit:
    """The inputs that all spaces of a fit share.

    Parameters
    ----------
    parameters : Parameters
        Parameters of the method.
    pairs : DataFrame
        Distinct pairs with columns user and item; item is null for a user without items.
    degrees : DataFrame
        Columns item and degree, of items with training interactions.
    stages : Stages
        Keeps the results of the stages.
    """

    parameters: Parameters
    pairs: DataFrame
    degrees: DataFrame
    stages: Stages


def fit_space(
    fit: SparkFit,
    name: str,
    frame: DataFrame,
    transforms: Sequence[Transform],
    centroids: Float64Array | None = None,
) -> SparkSpace:
    """Preprocess and cluster the items of a space, and count the interactions of each cluster.

    Parameters
    ----------
    fit : SparkFit
        The inputs that all spaces share.
    name : str
        Name of the space.
    frame : DataFrame
        Columns item and vector, an array.
    transforms : sequence of Transform
        Transforms of the vectors.
    centroids : ndarray of float64, shape (K, d), optional
        Centroids to use without changes, instead of those of K-means.

    Returns
    -------
    SparkSpace

    Raises
    ------
    InputError
        When no interaction touches an item with a row, K is too large, or the given centroids have
        the wrong shape or are not finite.
    """
    item = id_type(frame.schema["item"].dataType)
    schema = f"item {item}, degree long, vector binary"
    with_degrees = frame.join(fit.degrees, "item", "left").select(
        "item", F.coalesce("degree", F.lit(0)).alias("degree"), "vector"
    )
    transform = partial(transform_vectors, transforms=list(transforms), dtype="float32")
    rows = fit.stages.keep(with_degrees.mapInArrow(transform, schema), f"{name}-rows")
    facts = rows.agg(
        F.count("*").alias("items"),
        F.sum("degree").alias("interactions"),
        F.max(F.length("vector")).alias("bytes"),
    ).first()
    assert facts is not None  # noqa: S101 - an aggregate has one row
    if not facts["interactions"]:
        raise InputError(
            "no training interaction touches an item that has a feature row: check that both hold "
            "the same ids"
        )
    width, n_clusters = facts["bytes"] // 4, fit.parameters.n_clusters
    if centroids is None:
        unpacked = rows.mapInArrow(
            partial(unpack_vectors, dtype="float32"),
            f"item {item}, degree long, vector array<float>",
        )
        nearest = find_centroids(unpacked, facts["items"], n_clusters, fit.parameters.seed)
    else:
        nearest = _check_centroids(centroids, (n_clusters, width))
    items = fit.stages.keep(
        rows.mapInArrow(partial(assign_clusters, centroids=nearest), f"{schema}, cluster int"),
        f"{name}-items",
    )
    sums = collect_totals(items, partial(sum_clusters, n_clusters=len(nearest), width=width))
    if centroids is None:
        filled = sums[:, 0] > 0
        nearest[filled] = sums[filled, 2:] / sums[filled, :1]
    return SparkSpace(items, nearest, sums[:, 0].astype(np.int64), sums[:, 1])


def _check_centroids(centroids: Float64Array, shape: tuple[int, int]) -> Float64Array:
    checked = np.array(centroids, dtype=np.float64)
    if checked.shape != shape or not np.isfinite(checked).all():
        raise InputError(
            f"centroids have shape {checked.shape}, expected finite numbers of shape {shape}: "
            "n_clusters rows of the width of the preprocessed features"
        )
    return checked
