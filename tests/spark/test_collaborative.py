"""Collaborative columns when the driver reads a sample of the users."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from spark_cases import make_data

from sgurinit.core.steps.collaborative import compute_collaborative_items


def test_the_columns_of_a_sample_are_extended_to_all_items(spark, monkeypatch):
    from pyspark.sql import functions as F  # noqa: N812

    from sgurinit.spark import collaborative
    from sgurinit.spark.frames import hash_quantile

    data = make_data(seed=2, n_users=120, n_items=60, n_pairs=500)
    pairs = data.make_frames(spark)[0]
    pairs = pairs.select("user", F.when(F.col("weight") > 0, F.col("item")).alias("item"))
    pairs = pairs.distinct().persist()
    degrees = pairs.where("item IS NOT NULL").groupBy("item").agg(F.count("*").alias("degree"))
    matrix = data.matrix
    matrix.data[:] = 1
    share = 0.4
    monkeypatch.setattr(collaborative, "_SAMPLE_INTERACTIONS", share * matrix.nnz)
    found = collaborative.compute_collaborative_rows(pairs, degrees, 5).toPandas()
    sampled = pairs.where(F.xxhash64(F.col("user").cast("string")) < hash_quantile(share))
    users = [int(row["user"][1:]) for row in sampled.select("user").distinct().collect()]

    part = matrix[sorted(users)]
    of_users, of_items = matrix.sum(axis=1), matrix.sum(axis=0)
    of_sample = part.sum(axis=0)
    assert (of_sample[of_items > 0] == 0).any(), "all items are in the sample"
    begin = (
        compute_collaborative_items([lambda: part], of_sample, 5) / np.sqrt(of_sample + 1)[:, None]
    )
    scaled = sp.diags_array(1 / np.sqrt(of_users + 1)) @ matrix
    scaled = scaled @ sp.diags_array(1 / np.sqrt(of_items + 1))
    step = scaled.T @ (scaled @ begin)
    step /= np.linalg.norm(step, axis=0)
    expected = step * np.sqrt(of_items + 1)[:, None]

    at = found["item"].to_numpy() - 1000
    assert sorted(at) == sorted(np.flatnonzero(of_items))
    np.testing.assert_allclose(np.stack(found["vector"]), expected[at], rtol=1e-4, atol=1e-5)
    pairs.unpersist()
