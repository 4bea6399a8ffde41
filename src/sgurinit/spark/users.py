"""Users' rows: interactions meet items, sums by user (steps 1, 3 and 4 of the method)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.params import Parameters
from sgurinit.spark import batches
from sgurinit.spark.frames import id_text
from sgurinit.spark.space import Space

# Users with more interactions than this are summed in parts, wherever their interactions lie.
HOT = 1 << 20

# Users' interactions are counted on one in so many, by hash.
COUNTED = 64


def user_rows(
    pairs: DataFrame, spaces: Mapping[str, Space], parameters: Parameters, budget: int
) -> DataFrame:
    """Rows of all users, a column per space.

    Parameters
    ----------
    pairs : DataFrame
        Distinct user and item; null for no item.
    spaces : mapping of str to Space
        Fitted spaces.
    parameters : Parameters
        Of the fit.
    budget : int
        Bytes of item rows that are sent to every executor; beyond them interactions are brought
        to the items instead.

    Returns
    -------
    DataFrame
        Columns user and, per space, an array of float.
    """
    plan = _Plan(pairs, spaces, parameters)
    sent = plan.item_bytes() <= budget
    items = F.broadcast(plan.items) if sent else plan.items
    rows = plan.items_to_users if sent else plan.users_to_items
    hot = F.broadcast(hot_users(pairs))
    if hot.isEmpty():
        return rows(pairs, items)
    ordinary = rows(pairs.join(hot, "user", "left_anti"), items)
    return ordinary.unionByName(plan.in_parts(pairs.join(hot, "user", "left_semi"), items))


def hot_users(pairs: DataFrame) -> DataFrame:
    """Users with very many interactions."""
    counted = F.pmod(F.xxhash64("user", "item"), F.lit(COUNTED)) == 0
    counts = pairs.where(counted).groupBy("user").count()
    return counts.where(F.col("count") > HOT // COUNTED).select("user")


class _Plan:
    """The ways from interactions and items to users."""

    def __init__(
        self, pairs: DataFrame, spaces: Mapping[str, Space], parameters: Parameters
    ) -> None:
        self._spaces, self._parameters = spaces, parameters
        self._tables = [space.table(parameters) for space in spaces.values()]
        self._rows: dict[str, Any] = {"tables": self._tables, "names": list(spaces)}
        user = id_text(pairs.schema["user"].dataType)
        columns = [f"`{name}` array<float>" for name in spaces]
        self._schema = ", ".join([f"user {user}", *columns])
        self._sums = f"user {user}, sums binary"
        sides = [self._side(number, space) for number, space in enumerate(spaces.values())]
        self.items = reduce(lambda left, right: left.join(right, "item", "full"), sides)

    def item_bytes(self) -> int:
        """Size of the items' rows."""
        wide = self._parameters.local_weight > 0
        return sum(
            int(space.sizes.sum()) * (16 + 4 * space.centroids.shape[1] * wide)
            for space in self._spaces.values()
        )

    def items_to_users(self, pairs: DataFrame, items: DataFrame) -> DataFrame:
        """Bring each user's interactions together, then the items to them."""
        # The number keeps the sort where it is, and tells executors that it was kept.
        together = (
            pairs.repartition("user")
            .sortWithinPartitions("user")
            .withColumn("row", F.monotonically_increasing_id())
        )
        return (
            together.join(items, "item", "left")
            .drop("item")
            .mapInArrow(partial(batches.ordered_users, **self._rows), self._schema)
        )

    def users_to_items(self, pairs: DataFrame, items: DataFrame) -> DataFrame:
        """Bring interactions to the items, then each user's together with the items' rows."""
        joined = pairs.join(items, "item", "left").drop("item")
        return (
            joined.repartition("user")
            .sortWithinPartitions("user")
            .mapInArrow(partial(batches.whole_users, **self._rows), self._schema)
        )

    def in_parts(self, pairs: DataFrame, items: DataFrame) -> DataFrame:
        """Sum by user wherever interactions lie, then bring the sums together.

        No executor meets all of a user's interactions.
        """
        sums = (
            pairs.join(items, "item", "left")
            .drop("item")
            .mapInArrow(partial(batches.partial_sums, tables=self._tables), self._sums)
        )
        return (
            sums.repartition("user")
            .sortWithinPartitions("user")
            .mapInArrow(partial(batches.finished, **self._rows), self._schema)
        )

    def _side(self, number: int, space: Space) -> DataFrame:
        """A space's columns of the item rows: cluster, and weighted vector."""
        items = space.items
        if self._parameters.local_norm == "sym" and self._parameters.local_weight > 0:
            items = items.mapInArrow(batches.weighted, items.schema)
        columns = [F.col("item"), F.col("cluster").alias(f"z{number}")]
        if self._parameters.local_weight > 0:
            columns.append(F.col("vector").alias(f"v{number}"))
        return items.select(*columns)
