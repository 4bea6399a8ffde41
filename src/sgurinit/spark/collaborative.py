"""Collaborative columns: the core's, from a sample of the users where there are very many."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.steps.aggregate import item_degrees
from sgurinit.core.steps.collaborative import REGULARISER, collaborative_items
from sgurinit.spark import batches
from sgurinit.spark.frames import hash_quantile, id_text
from sgurinit.spark.moments import totals
from sgurinit.spark.users import hot_users

# Interactions that the driver sees at most, about, at some 70 bytes each: of a sample of users.
SAMPLE = 1 << 25


def collaborative_rows(pairs: DataFrame, degrees: DataFrame, dim: int) -> DataFrame:
    """Describe every item by who uses it, see `collaborative_items`.

    That takes hundreds of passes over the interactions, so the driver takes them, over hashes of
    the ids. Beyond `SAMPLE` interactions it sees those of a sample of users by hash, none of them
    hot, and one more step of the iteration, over all interactions on the executors, carries what it
    found to all items.

    Parameters
    ----------
    pairs : DataFrame
        Distinct user and item; null for no item.
    degrees : DataFrame
        Columns item and degree, of items with training interactions.
    dim : int
        Number of directions.

    Returns
    -------
    DataFrame
        Columns item and vector, an array, of items with training interactions.
    """
    used = pairs.where("item IS NOT NULL")
    first = degrees.agg(F.sum("degree").alias("interactions")).first()
    assert first is not None  # noqa: S101 - an aggregate has one row
    share = SAMPLE / first["interactions"]
    keyed = degrees.withColumn("key", F.xxhash64("item"))
    if share >= 1:
        return keyed.join(_found(used, dim), "key").select("item", "vector")
    hash_of_user = F.xxhash64(F.col("user").cast("string"))
    some = used.where(hash_of_user < hash_quantile(share))
    found = _found(some.join(F.broadcast(hot_users(pairs)), "user", "left_anti"), dim)
    return _carried(used, keyed.join(found, "key"), dim)


def _found(pairs: DataFrame, dim: int) -> DataFrame:
    """Vectors of the items of these pairs, and their factors over unit directions, by hash."""
    hashes = [F.xxhash64(name).alias(name) for name in ("user", "item")]
    table = pairs.select(*hashes).toArrow()
    users, rows = np.unique(table["user"].to_numpy(), return_inverse=True)
    keys, columns = np.unique(table["item"].to_numpy(), return_inverse=True)
    matrix = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(users), len(keys)))
    degrees = item_degrees(matrix)
    vectors = collaborative_items([lambda: matrix], degrees, dim)
    found = {
        "key": pa.array(keys, pa.int64()),
        "vector": batches.lists(vectors),
        "factor": pa.array(np.sqrt(degrees + REGULARISER)),
    }
    return pairs.sparkSession.createDataFrame(pa.table(found))


def _carried(pairs: DataFrame, items: DataFrame, dim: int) -> DataFrame:
    """One step of the power iteration from the vectors of some items to all items."""
    item, user = (id_text(pairs.schema[name].dataType) for name in ("item", "user"))
    rows = items.mapInArrow(batches.directions, f"item {item}, vector binary")
    of_users = _sums(pairs.join(rows, "item", "left"), "user", dim)
    means = of_users.mapInArrow(batches.damped, f"user {user}, vector binary")
    of_items = _sums(pairs.join(means, "user"), "item", dim)
    squares = totals(of_items, partial(batches.direction_squares, width=dim))[0]
    scales = 1.0 / np.sqrt(np.where(squares > 0, squares, 1.0))
    schema = f"item {item}, vector array<float>"
    return of_items.mapInArrow(partial(batches.scaled, scales=scales), schema)


def _sums(rows: DataFrame, by: str, dim: int) -> DataFrame:
    """Number of each user's, or item's, rows and the sum of their vectors."""
    schema = f"{by} {id_text(rows.schema[by].dataType)}, sums binary"
    parts = rows.select(by, "vector").mapInArrow(
        partial(batches.counted_sums, by=by, width=dim), schema
    )
    together = parts.repartition(by).sortWithinPartitions(by)
    return together.mapInArrow(partial(batches.merged, key=by), schema)
