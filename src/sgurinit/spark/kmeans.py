"""K-means of items: MLlib on a sample by id, the rest assigned exactly."""

from __future__ import annotations

import gc
from math import ceil

import numpy as np
from pyspark.ml.clustering import KMeans
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.inputs.features import Float64Array
from sgurinit.errors import InputError
from sgurinit.spark.frames import hash_quantile

# MLlib sees at least so many rows, and so many per cluster.
SAMPLE_ROWS = 1 << 14
SAMPLE_PER_CLUSTER = 256

# Starts of which the best is kept. With five rounds of oversampling k-means|| needs far fewer than
# k-means++: on TikTok one was never more than 1 % behind ten of those.
N_INIT = 2
INIT_STEPS = 5
ITERATIONS = 20

# Numbers in one partition of the sample. More partitions are faster on a cluster; with one the
# order of MLlib's sums is fixed as well.
PARTITION = 1 << 25


def found_centroids(items: DataFrame, n_items: int, n_clusters: int, seed: int) -> Float64Array:
    """Centroids of the items, of MLlib's best start.

    The same items and seed give the same sample in the same order, however the frame is
    partitioned.

    Parameters
    ----------
    items : DataFrame
        Columns item and vector, an array.
    n_items : int
        Number of its rows.
    n_clusters : int
        K.
    seed : int
        Seed of the sample and of K-means.

    Returns
    -------
    ndarray of float64, shape (K, d)

    Raises
    ------
    InputError
        When there are fewer distinct rows than clusters.
    """
    _check_distinct(items, n_clusters)
    wanted = max(SAMPLE_ROWS, SAMPLE_PER_CLUSTER * n_clusters)
    order = F.xxhash64(F.col("item").cast("string"), F.lit(seed))
    sample = items.withColumn("order", order)
    if n_items > wanted:
        sample = sample.where(F.col("order") < hash_quantile(wanted / n_items))
    first = sample.select(F.size("vector").alias("width")).first()
    assert first is not None  # noqa: S101 - there are as many rows as clusters
    if n_clusters == 1:  # MLlib wants two; the mean of all rows is what any start comes to
        return np.zeros((1, first["width"]))
    parts = ceil(min(n_items, wanted) * first["width"] / PARTITION)
    points = (
        sample.repartition(parts, "order")
        .sortWithinPartitions("order", F.col("item").cast("string"))
        .select(array_to_vector(F.col("vector")).alias("features"))
        .persist()
    )
    try:
        return _best(points, n_clusters, seed)
    finally:
        points.unpersist()
        # Models and their summaries hold each other. Over Connect one that Python finds only at its
        # end is released by a thread that can no longer start, and the process hangs.
        gc.collect()


def _best(points: DataFrame, n_clusters: int, seed: int) -> Float64Array:
    costs: list[float] = []
    best = np.zeros((0, 0))
    for start in range(N_INIT):
        model = KMeans(
            k=n_clusters, seed=seed + start, initSteps=INIT_STEPS, maxIter=ITERATIONS
        ).fit(points)
        cost = float(model.summary.trainingCost)
        if not costs or cost < min(costs):
            best = np.array(model.clusterCenters())
        costs.append(cost)
    # MLlib gives fewer where its candidates coincide; nobody then uses the others.
    missing = n_clusters - len(best)
    return np.vstack([best, np.repeat(best[-1:], missing, axis=0)])


def _check_distinct(items: DataFrame, n_clusters: int) -> None:
    hashes = items.select(F.xxhash64("vector").alias("hash")).distinct()
    distinct = hashes.limit(n_clusters).count()
    if distinct < n_clusters:
        raise InputError(
            f"n_clusters={n_clusters} is more than the {distinct} distinct item rows: "
            f"choose at most {distinct}"
        )
