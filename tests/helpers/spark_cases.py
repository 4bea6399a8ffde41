"""Data for the core and for Spark, and the comparison of their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import sgurinit
from sgurinit import ItemFeatures

# For small data on a small machine, where compiling costs more than it gains.
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@dataclass(frozen=True)
class Data:
    """Interactions and items, for the core and for Spark.

    `pairs` holds positions of users and items. Spark gets external ids, and an interaction of
    weight zero for each user without interactions.
    """

    n_users: int
    pairs: np.ndarray
    features: Mapping[str, ItemFeatures]

    @property
    def n_items(self) -> int:
        return next(iter(self.features.values())).n_items

    @property
    def matrix(self) -> Any:
        import scipy.sparse as sp

        ones = np.ones(len(self.pairs))
        return sp.coo_array((ones, self.pairs.T), shape=(self.n_users, self.n_items)).tocsr()

    def make_frames(self, spark: Any, partitions: int = 2) -> tuple[Any, dict[str, Any]]:
        """Make the frames of interactions and items. User ids are strings, item ids are longs."""
        users = [f"u{user}" for user in self.pairs[:, 0]]
        table = pd.DataFrame({"user": users, "item": self.pairs[:, 1] + 1000, "weight": 1.0})
        missing = np.setdiff1d(np.arange(self.n_users), self.pairs[:, 0])
        idle = pd.DataFrame({"user": [f"u{user}" for user in missing], "item": 1000, "weight": 0.0})
        table = pd.concat([table, idle], ignore_index=True)
        # Kept: every job of a fit would distribute the rows again.
        interactions = spark.createDataFrame(table).repartition(partitions).persist()
        items = {}
        for name, features in self.features.items():
            at = np.flatnonzero(features.mask())
            rows = pd.DataFrame({"item": at + 1000, "vector": list(features.values[at])})
            kind = "double" if features.values.dtype == np.float64 else "float"
            frame = spark.createDataFrame(rows, f"item long, vector array<{kind}>")
            items[name] = frame.repartition(partitions).persist()
        return interactions, items


def make_data(
    seed: int = 0, n_users: int = 40, n_items: int = 30, n_pairs: int = 150, idle: int = 3
) -> Data:
    """Make data with duplicate interactions, users without items, and rows missing or zero."""
    rng = np.random.default_rng(seed)
    pairs = np.stack(
        [rng.integers(n_users - idle, size=n_pairs), rng.integers(n_items, size=n_pairs)], axis=1
    )
    a = (rng.normal(size=(n_items, 6)) + 3).astype(np.float32)
    b = rng.normal(size=(n_items, 4))
    b[1:3] = 0
    present = rng.random(n_items) < 0.6
    present[:6] = True
    features = {"a": ItemFeatures(a), "b": ItemFeatures(b, present)}
    return Data(n_users, pairs, features)


def fit_core(data: Data, **parameters: Any) -> sgurinit.SGURInit:
    parameters = {"n_clusters": 4, "random_state": 0} | parameters
    return sgurinit.SGURInit(**parameters).fit(data.matrix, data.features)


def get_spaces(core: sgurinit.SGURInit) -> dict[str, Any]:
    fit = core.start_.fit
    spaces = dict(fit.spaces)
    if fit.parameters.joint_dim is not None:
        spaces["joint"] = fit.fit_joint_space(fit.parameters.joint_dim).space
    return spaces


def collect_users(frame: Any, names: Any) -> dict[str, np.ndarray]:
    """Collect the users' rows per table, in the order of their positions."""
    table = frame.toPandas()
    table.index = table["user"].str[1:].astype(int)
    assert table.index.is_unique
    table = table.sort_index()
    return {name: np.stack(table[name].to_list()) for name in names}


def assert_equal_to_core(model: Any, core: sgurinit.SGURInit, users: Any = None) -> None:
    """Assert that every item has its nearest cluster and every user the row of the core.

    The model must have been fitted with the centroids of the core. Tolerance: 1e-5.
    """
    from sgurinit.core.steps.aggregate import (
        ItemSide,
        aggregate_users,
        compute_fallback,
        compute_item_weights,
    )

    spaces = get_spaces(core)
    found = collect_users(model.users if users is None else users, spaces)
    for name, space in spaces.items():
        matrix, parameters = core.start_.fit.interactions.matrix, space.parameters
        at = np.flatnonzero(space.present)
        items = model.items[name].toPandas()
        items.index = items["item"] - 1000
        items = items.loc[at]
        rows = np.asarray(space.items.rows, dtype=np.float64)
        assert_close(np.stack(items["vector"].to_list()), rows)
        # Of two equally near centroids, either is right.
        centroids, labels = model.clusters[name].centroids, items["cluster"].to_numpy()
        distances = np.square(rows[:, None] - centroids[None]).sum(-1)
        chosen = distances[np.arange(len(rows)), labels]
        np.testing.assert_allclose(
            chosen, distances.min(1), rtol=1e-5, atol=1e-6 * np.square(rows).sum(1).max()
        )
        degrees = np.bincount(matrix.indices, minlength=matrix.shape[1])[at].astype(float)
        side = ItemSide(
            rows, labels, centroids, compute_item_weights(degrees, parameters.local_norm),
            compute_fallback(degrees, labels, centroids),
        )  # fmt: skip
        expected = aggregate_users(
            space.select_present(matrix), side,
            local_weight=parameters.local_weight, local_norm=parameters.local_norm,
        )  # fmt: skip
        assert_close(found[name], expected)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Assert equality within 1e-5 of the largest entry."""
    assert found.shape == expected.shape
    size = np.abs(expected).max(initial=1e-30)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * size)
