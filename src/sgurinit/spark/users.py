"""Users' rows on Spark: interactions are joined with items and summed by user."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.params import Parameters
from sgurinit.spark.batches.items import weight_by_degree
from sgurinit.spark.batches.users import (
    compute_users,
    compute_users_from_sums,
    compute_users_in_order,
    sum_users,
)
from sgurinit.spark.frames import id_type
from sgurinit.spark.space import SparkSpace

# Users with more interactions than this are hot: they are summed in parts, in the partitions where
# their interactions are.
_HOT_INTERACTIONS = 1 << 20

# Users' interactions are counted on a sample of one in this many, by hash.
_COUNT_ONE_IN = 64


def compute_user_rows(
    pairs: DataFrame,
    spaces: Mapping[str, SparkSpace],
    parameters: Parameters,
    broadcast_bytes: int,
) -> DataFrame:
    """Compute the rows of all users.

    Parameters
    ----------
    pairs : DataFrame
        Distinct pairs with columns user and item; item is null for a user without items.
    spaces : mapping of str to SparkSpace
        Fitted spaces.
    parameters : Parameters
        Parameters of the fit.
    broadcast_bytes : int
        Item rows up to this size are broadcast to every executor. For larger ones, a shuffle
        brings the interactions to the items.

    Returns
    -------
    DataFrame
        Columns user and, per space, an array of float.
    """
    plan = _Plan(pairs, spaces, parameters)
    broadcast = plan.count_item_bytes() <= broadcast_bytes
    items = F.broadcast(plan.items) if broadcast else plan.items
    compute = plan.bring_items_to_users if broadcast else plan.bring_users_to_items
    hot = F.broadcast(find_hot_users(pairs))
    if hot.isEmpty():
        return compute(pairs, items)
    ordinary = compute(pairs.join(hot, "user", "left_anti"), items)
    return ordinary.unionByName(plan.sum_in_parts(pairs.join(hot, "user", "left_semi"), items))


def find_hot_users(pairs: DataFrame) -> DataFrame:
    """Find users with so many interactions that they are summed in parts."""
    sampled = F.pmod(F.xxhash64("user", "item"), F.lit(_COUNT_ONE_IN)) == 0
    counts = pairs.where(sampled).groupBy("user").count()
    return counts.where(F.col("count") > _HOT_INTERACTIONS // _COUNT_ONE_IN).select("user")


class _Plan:
    """The three ways to join interactions with items and sum them by user."""

    def __init__(
        self, pairs: DataFrame, spaces: Mapping[str, SparkSpace], parameters: Parameters
    ) -> None:
        self._spaces, self._parameters = spaces, parameters
        self._formulas = {name: space.make_formula(parameters) for name, space in spaces.items()}
        user = id_type(pairs.schema["user"].dataType)
        columns = [f"`{name}` array<float>" for name in spaces]
        self._row_schema = ", ".join([f"user {user}", *columns])
        self._sum_schema = f"user {user}, sums binary"
        columns_by_space = [
            self._select_item_columns(number, space) for number, space in enumerate(spaces.values())
        ]
        self.items = reduce(lambda left, right: left.join(right, "item", "full"), columns_by_space)

    def count_item_bytes(self) -> int:
        """Count the bytes of the items' rows."""
        with_vectors = self._parameters.local_weight > 0
        return sum(
            int(space.sizes.sum()) * (16 + 4 * space.centroids.shape[1] * with_vectors)
            for space in self._spaces.values()
        )

    def bring_items_to_users(self, pairs: DataFrame, items: DataFrame) -> DataFrame:
        """Group interactions by user, then join them with the broadcast items."""
        # The row number keeps the optimizer from moving the sort behind the join, and lets
        # executors check the order.
        by_user = (
            pairs.repartition("user")
            .sortWithinPartitions("user")
            .withColumn("row", F.monotonically_increasing_id())
        )
        return (
            by_user.join(items, "item", "left")
            .drop("item")
            .mapInArrow(partial(compute_users_in_order, formulas=self._formulas), self._row_schema)
        )

    def bring_users_to_items(self, pairs: DataFrame, items: DataFrame) -> DataFrame:
        """Join interactions with items in a shuffle, then group them by user."""
        joined = pairs.join(items, "item", "left").drop("item")
        return (
            joined.repartition("user")
            .sortWithinPartitions("user")
            .mapInArrow(partial(compute_users, formulas=self._formulas), self._row_schema)
        )

    def sum_in_parts(self, pairs: DataFrame, items: DataFrame) -> DataFrame:
        """Sum by user in each partition, then group the sums by user.

        No executor reads all interactions of a user.
        """
        sums = (
            pairs.join(items, "item", "left")
            .drop("item")
            .mapInArrow(partial(sum_users, formulas=self._formulas), self._sum_schema)
        )
        return (
            sums.repartition("user")
            .sortWithinPartitions("user")
            .mapInArrow(partial(compute_users_from_sums, formulas=self._formulas), self._row_schema)
        )

    def _select_item_columns(self, number: int, space: SparkSpace) -> DataFrame:
        """Select the cluster and, if the local part needs it, the weighted vector of each item."""
        items = space.items
        if self._parameters.local_norm == "sym" and self._parameters.local_weight > 0:
            items = items.mapInArrow(weight_by_degree, items.schema)
        columns = [F.col("item"), F.col("cluster").alias(f"z{number}")]
        if self._parameters.local_weight > 0:
            columns.append(F.col("vector").alias(f"v{number}"))
        return items.select(*columns)
