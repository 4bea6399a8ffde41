"""The collaborative joint space on Spark: the driver computes it with the core's functions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.inputs.arrays import Float64Array, IntArray
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.joint import compute_collaborative_items
from sgurinit.spark.batches.columns import make_lists, unpack
from sgurinit.spark.batches.items import JointBlock, transform_vectors
from sgurinit.spark.frames import hash_quantile
from sgurinit.spark.space import SparkFit
from sgurinit.spark.users import find_hot_users

# Approximate limit on the interactions that the driver reads, at some 70 bytes each.
_SAMPLE_INTERACTIONS = 1 << 25


class _ItemKeys:
    """Hashes of the items' ids, in the order of the ids, which is the order of rows here."""

    def __init__(self, items: DataFrame) -> None:
        self.keys: IntArray = items.sort("item").select("key").toArrow()["key"].to_numpy()
        self._order = np.argsort(self.keys, kind="stable")

    def find_rows(self, keys: IntArray) -> IntArray:
        """Find the row of each key."""
        return self._order[np.searchsorted(self.keys, keys, sorter=self._order)]


def compute_collaborative_frame(
    fit: SparkFit, features: Mapping[str, DataFrame], blocks: Mapping[str, JointBlock]
) -> DataFrame:
    """Describe items by who uses them and what they are.

    The driver reads the interactions, as hashes of the ids, and the reduced content of all items.
    Of more than `_SAMPLE_INTERACTIONS` interactions it reads those of a sample of users, chosen by
    hash and without hot users. An item that none of them uses is placed at used items with similar
    content.

    Parameters
    ----------
    fit : SparkFit
        The inputs that all spaces share.
    features : mapping of str to DataFrame
        Columns item and vector, by modality.
    blocks : mapping of str to JointBlock
        Reduction of the content, by modality; none for a model without content.

    Returns
    -------
    DataFrame
        Columns item and vector, an array, of the items that have a row.

    See Also
    --------
    sgurinit.core.steps.joint.compute_collaborative_items : The computation and its sources.
    """
    dim = fit.parameters.joint_dim
    assert dim is not None  # noqa: S101 - otherwise there is no joint space
    ids = [frame.select("item") for frame in (fit.degrees, *(features[name] for name in blocks))]
    items = reduce(DataFrame.union, ids).distinct().withColumn("key", F.xxhash64("item"))
    keys = _ItemKeys(items)
    matrix = _read_interactions(fit, keys)
    content = {name: _read_block(features[name], block, keys) for name, block in blocks.items()}
    joint = compute_collaborative_items(
        [lambda: matrix], count_item_degrees(matrix), content, dim, fit.parameters
    )
    rows = {
        "key": pa.array(keys.keys[joint.present]),
        "vector": make_lists(joint.rows[joint.present]),
    }
    computed = fit.pairs.sparkSession.createDataFrame(pa.table(rows))
    return items.join(computed, "key").select("item", "vector")


def _read_interactions(fit: SparkFit, keys: _ItemKeys) -> sp.csr_array:
    """Read the interactions, or those of a sample of users."""
    pairs = fit.pairs.where("item IS NOT NULL")
    first = fit.degrees.agg(F.sum("degree").alias("interactions")).first()
    assert first is not None  # noqa: S101 - an aggregate has one row
    share = _SAMPLE_INTERACTIONS / first["interactions"]
    if share < 1:
        user_hash = F.xxhash64(F.col("user").cast("string"))
        pairs = pairs.where(user_hash < hash_quantile(share))
        pairs = pairs.join(F.broadcast(find_hot_users(fit.pairs)), "user", "left_anti")
    table = pairs.select(*(F.xxhash64(name).alias(name) for name in ("user", "item"))).toArrow()
    users, rows = np.unique(table["user"].to_numpy(), return_inverse=True)
    columns = keys.find_rows(table["item"].to_numpy())
    shape = (len(users), len(keys.keys))
    return sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def _read_block(frame: DataFrame, block: JointBlock, keys: _ItemKeys) -> Float64Array:
    """Read the reduced rows of one modality, zero where an item has no row."""
    rows = np.zeros((len(keys.keys), block.width))
    if block.width:
        reduced = frame.select(F.xxhash64("item").alias("key"), "vector").mapInArrow(
            partial(transform_vectors, transforms=list(block.transforms), dtype="float64"),
            "key long, vector binary",
        )
        for batch in reduced.toArrow().to_batches():
            found = unpack(batch["vector"], "float64")[0]
            rows[keys.find_rows(batch["key"].to_numpy())] = found * block.scale
    return rows
