"""One space of the method on Spark: items, their clusters, and what users' sums need of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.inputs.features import Float64Array
from sgurinit.core.params import Parameters
from sgurinit.errors import InputError
from sgurinit.spark import batches
from sgurinit.spark.frames import id_text
from sgurinit.spark.kmeans import found_centroids
from sgurinit.spark.moments import totals
from sgurinit.spark.stages import Stages


@dataclass(frozen=True, eq=False)
class Space:
    """A fitted space.

    Parameters
    ----------
    items : DataFrame
        Columns item, vector (preprocessed, packed float32), degree (users in training) and cluster,
        of the items that have a row.
    centroids : ndarray of float64, shape (K, d)
        Centroids.
    sizes : ndarray of int64, shape (K,)
        Items of each cluster.
    interactions : ndarray of float64, shape (K,)
        Training interactions with the items of each cluster.
    """

    items: DataFrame
    centroids: Float64Array
    sizes: np.ndarray[tuple[int], np.dtype[np.int64]]
    interactions: Float64Array

    def table(self, parameters: Parameters) -> batches.Table:
        """What turns users' sums into rows."""
        shares = self.interactions / self.interactions.sum()
        return batches.Table(
            centroids=self.centroids,
            fallback=shares @ self.centroids,
            local_weight=parameters.local_weight,
            power=-0.5 if parameters.local_norm == "sym" else -1.0,
        )


@dataclass(frozen=True, eq=False)
class Fit:
    """What all spaces of a fit share.

    Parameters
    ----------
    parameters : Parameters
        Of the method.
    pairs : DataFrame
        Distinct user and item; null for no item.
    degrees : DataFrame
        Columns item and degree, of items with training interactions.
    stages : Stages
        Where what is made is kept.
    """

    parameters: Parameters
    pairs: DataFrame
    degrees: DataFrame
    stages: Stages


def fit_space(
    fit: Fit,
    name: str,
    frame: DataFrame,
    steps: Sequence[batches.Step],
    given: Float64Array | None = None,
) -> Space:
    """Preprocess, cluster and weigh items.

    Parameters
    ----------
    fit : Fit
        What all spaces share.
    name : str
        Of the space.
    frame : DataFrame
        Columns item and vector, an array.
    steps : sequence of Step
        What is done to the vectors first.
    given : ndarray of float64, shape (K, d), optional
        Centroids that are used as they are.

    Raises
    ------
    InputError
        When no interaction touches an item with a row, K is too large, or given centroids do not
        fit.
    """
    item = id_text(frame.schema["item"].dataType)
    packed = f"item {item}, degree long, vector binary"
    weighed = frame.join(fit.degrees, "item", "left").select(
        "item", F.coalesce("degree", F.lit(0)).alias("degree"), "vector"
    )
    rows = fit.stages.keep(
        weighed.mapInArrow(partial(batches.prepared, steps=list(steps), dtype="float32"), packed),
        f"{name}-rows",
    )
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
    if given is None:
        as_lists = rows.mapInArrow(
            partial(batches.as_lists, dtype="float32"),
            f"item {item}, degree long, vector array<float>",
        )
        centroids = found_centroids(as_lists, facts["items"], n_clusters, fit.parameters.seed)
    else:
        centroids = _checked(given, (n_clusters, width))
    items = fit.stages.keep(
        rows.mapInArrow(partial(batches.assigned, centroids=centroids), f"{packed}, cluster int"),
        f"{name}-items",
    )
    sums = totals(items, partial(batches.cluster_moments, n_clusters=len(centroids), width=width))
    if given is None:
        filled = sums[:, 0] > 0
        centroids[filled] = sums[filled, 2:] / sums[filled, :1]
    return Space(items, centroids, sums[:, 0].astype(np.int64), sums[:, 1])


def _checked(given: Float64Array, shape: tuple[int, int]) -> Float64Array:
    centroids = np.array(given, dtype=np.float64)
    if centroids.shape != shape or not np.isfinite(centroids).all():
        raise InputError(
            f"centroids have shape {centroids.shape}, expected finite numbers of shape {shape}: "
            "n_clusters rows of the width of the preprocessed features"
        )
    return centroids
