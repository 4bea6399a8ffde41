"""The collaborative joint space when the driver reads a sample of the users."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from spark_cases import assert_close, make_data

from sgurinit import ItemFeatures, SGURInit
from sgurinit.core.params import Parameters
from sgurinit.core.steps.joint import compute_joint_items


@pytest.fixture(scope="module")
def sampled(spark):
    """Data, frames, and the interactions of the users that the driver sees of two fifths."""
    from pyspark.sql import functions as F  # noqa: N812

    from sgurinit.spark.frames import hash_quantile

    data, share = make_data(seed=2, n_users=120, n_items=60, n_pairs=500), 0.4
    interactions, items = data.make_frames(spark)
    seen = interactions.where(F.xxhash64(F.col("user").cast("string")) < hash_quantile(share))
    users = sorted(int(row["user"][1:]) for row in seen.select("user").distinct().collect())
    matrix = data.matrix
    matrix.data[:] = 1
    part = sp.csr_array(matrix[users])
    assert ((part.sum(axis=0) == 0) & (matrix.sum(axis=0) > 0)).any(), "all items are in the sample"
    return SimpleNamespace(
        data=data, interactions=interactions, items=items, part=part, limit=share * matrix.nnz
    )


@pytest.mark.parametrize("content_weight", [0.0, 0.5, None])
def test_a_sample_of_users_gives_what_the_core_gives_for_them(sampled, monkeypatch, content_weight):
    """Items that none of them uses are placed by their content, or have no row without it."""
    from sgurinit.spark import SparkSGURInit

    monkeypatch.setattr("sgurinit.spark.collaborative._SAMPLE_INTERACTIONS", sampled.limit)
    options = {"joint_dim": 5, "collaborative": True, "content_weight": content_weight}
    options |= {"n_clusters": 2, "random_state": 0}
    model = SparkSGURInit(**options).fit(sampled.interactions, sampled.items)
    found = model.items["joint"].toPandas().sort_values("item")

    # The core gets the items in the opposite order.
    part = sp.csr_array(sampled.part[:, ::-1])
    features = {
        name: ItemFeatures(table.values[::-1], table.mask()[::-1])
        for name, table in sampled.data.features.items()
    }
    parameters = Parameters.check(SGURInit(**options).get_params())
    core = compute_joint_items([lambda: part], part.sum(axis=0), features, 5, parameters)
    present = core.present[::-1]
    if content_weight == 0:
        np.testing.assert_array_equal(present, sampled.part.sum(axis=0) > 0)
    else:
        assert present.all()
    np.testing.assert_array_equal(found["item"], 1000 + np.flatnonzero(present))
    assert_close(np.stack(found["vector"]), core.rows[::-1][present])
    model.unpersist()


def test_without_content_no_features_are_read(sampled, monkeypatch):
    from sgurinit.spark import SparkSGURInit, collaborative

    def refuse(*_):
        pytest.fail("content was read")

    monkeypatch.setattr(collaborative, "_read_block", refuse)
    options = {"joint_dim": 5, "collaborative": True, "content_weight": 0.0, "n_clusters": 2}
    model = SparkSGURInit(**options).fit(sampled.interactions, sampled.items)
    used = np.unique(sampled.data.pairs[:, 1]) + 1000
    items = model.items["joint"].toPandas()["item"]
    np.testing.assert_array_equal(np.sort(items), used)
    model.unpersist()
