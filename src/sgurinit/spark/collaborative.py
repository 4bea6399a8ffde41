"""Collaborative columns on Spark: computed by the core, from a sample of users on large logs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.collaborative import REGULARIZER, compute_collaborative_items
from sgurinit.spark.batches.collaborative import (
    count_and_sum,
    divide_by_degree,
    normalize_directions,
    scale_directions,
    sum_squared_directions,
)
from sgurinit.spark.batches.columns import make_lists
from sgurinit.spark.batches.sums import merge_sums
from sgurinit.spark.frames import hash_quantile, id_type
from sgurinit.spark.moments import collect_totals
from sgurinit.spark.users import find_hot_users

# Approximate limit on the interactions that the driver reads, at some 70 bytes each.
_SAMPLE_INTERACTIONS = 1 << 25


def compute_collaborative_rows(pairs: DataFrame, degrees: DataFrame, dim: int) -> DataFrame:
    """Compute the collaborative columns of every item.

    They take hundreds of passes over the interactions, so the driver computes them, on hashes of
    the ids. Of more than `_SAMPLE_INTERACTIONS` interactions the driver reads those of a sample of
    users, chosen by hash and without hot users. The executors then take one more step of the power
    iteration over all interactions, which extends the result to all items.

    Parameters
    ----------
    pairs : DataFrame
        Distinct pairs with columns user and item; item is null for a user without items.
    degrees : DataFrame
        Columns item and degree, of items with training interactions.
    dim : int >= 1
        Number of columns.

    Returns
    -------
    DataFrame
        Columns item and vector, an array, of items with training interactions.

    See Also
    --------
    sgurinit.core.steps.collaborative.collaborative_items : The computation and its sources.
    """
    interactions = pairs.where("item IS NOT NULL")
    first = degrees.agg(F.sum("degree").alias("interactions")).first()
    assert first is not None  # noqa: S101 - an aggregate has one row
    share = _SAMPLE_INTERACTIONS / first["interactions"]
    keyed = degrees.withColumn("key", F.xxhash64("item"))
    if share >= 1:
        columns = _compute_on_driver(interactions, dim)
        return keyed.join(columns, "key").select("item", "vector")
    user_hash = F.xxhash64(F.col("user").cast("string"))
    sample = interactions.where(user_hash < hash_quantile(share))
    sample = sample.join(F.broadcast(find_hot_users(pairs)), "user", "left_anti")
    columns = _compute_on_driver(sample, dim)
    return _extend_to_all_items(interactions, keyed.join(columns, "key"), dim)


def _compute_on_driver(pairs: DataFrame, dim: int) -> DataFrame:
    """Compute the columns of the items in these pairs.

    Items are given by the hash of their id, ``key``. Dividing an item's ``vector`` by its
    ``factor`` gives its entries of unit directions.
    """
    hashes = [F.xxhash64(name).alias(name) for name in ("user", "item")]
    table = pairs.select(*hashes).toArrow()
    users, rows = np.unique(table["user"].to_numpy(), return_inverse=True)
    keys, columns = np.unique(table["item"].to_numpy(), return_inverse=True)
    matrix = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(users), len(keys)))
    degrees = count_item_degrees(matrix)
    vectors = compute_collaborative_items([lambda: matrix], degrees, dim)
    result = {
        "key": pa.array(keys, pa.int64()),
        "vector": make_lists(vectors),
        "factor": pa.array(np.sqrt(degrees + REGULARIZER)),
    }
    return pairs.sparkSession.createDataFrame(pa.table(result))


def _extend_to_all_items(pairs: DataFrame, items: DataFrame, dim: int) -> DataFrame:
    """Take one step of the power iteration, from the vectors of some items to all items."""
    item, user = (id_type(pairs.schema[name].dataType) for name in ("item", "user"))
    rows = items.mapInArrow(normalize_directions, f"item {item}, vector binary")
    user_sums = _count_and_sum(pairs.join(rows, "item", "left"), "user", dim)
    means = user_sums.mapInArrow(divide_by_degree, f"user {user}, vector binary")
    item_sums = _count_and_sum(pairs.join(means, "user"), "item", dim)
    squares = collect_totals(item_sums, partial(sum_squared_directions, width=dim))[0]
    scales = 1.0 / np.sqrt(np.where(squares > 0, squares, 1.0))
    schema = f"item {item}, vector array<float>"
    return item_sums.mapInArrow(partial(scale_directions, scales=scales), schema)


def _count_and_sum(rows: DataFrame, by: str, dim: int) -> DataFrame:
    """Count the rows of each user, or item, and sum their vectors."""
    schema = f"{by} {id_type(rows.schema[by].dataType)}, sums binary"
    parts = rows.select(by, "vector").mapInArrow(partial(count_and_sum, by=by, width=dim), schema)
    sorted_parts = parts.repartition(by).sortWithinPartitions(by)
    return sorted_parts.mapInArrow(partial(merge_sums, key=by), schema)
