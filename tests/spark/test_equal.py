"""Spark gives the numbers of the core, for any options, data and partitioning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spark_cases import Data, assert_equal_to_core, fit_core, get_spaces, make_data

import sgurinit
from sgurinit import ItemFeatures, load_dataset
from sgurinit.core.params import PRESETS


def fit_with_centroids_of(core, spark, data, partitions=2, **engine):
    """Fit on Spark with the parameters and the centroids of the core."""
    from sgurinit.spark import SparkSGURInit

    parameters = core.get_params() | {"random_state": 0}
    del parameters["n_jobs"], parameters["device"]
    interactions, items = data.make_frames(spark, partitions)
    centroids = {name: space.items.centroids for name, space in get_spaces(core).items()}
    return SparkSGURInit(**parameters, **engine).fit(interactions, items, centroids=centroids)


OPTIONS = [
    {"local_norm": "sym", "local_weight": 0.3, "n_clusters": 1},
    {"local_weight": 0.0, "preprocess": ("center", "unit"), "joint_dim": 3},
    {"local_norm": "sym", "local_weight": 1.0, "preprocess": ("unit", "whiten"), "n_clusters": 7},
    {"local_norm": "sym", "preprocess": ("whiten",), "joint_dim": 12},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option(spark, options):
    data = make_data()
    core = fit_core(data, **options)
    model = fit_with_centroids_of(core, spark, data)
    assert_equal_to_core(model, core)
    model.unpersist()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(spark, name):
    """The joint space is wider than there are items."""
    data = make_data(n_users=80, n_items=60, n_pairs=400)
    core = sgurinit.SGURInit.from_preset(name, joint_dim=70, random_state=0)
    core.fit(data.matrix, data.features)
    model = fit_with_centroids_of(core, spark, data)
    assert model.clusters["joint"].centroids.shape[1] == 70
    assert_equal_to_core(model, core)
    model.unpersist()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"content_weight": 0.0},
        {"content_weight": 0.5, "collaborative_rank": 8},
        {"penalty": 5.0},
        {"penalty": 5.0, "content_weight": 2.0, "collaborative_rank": 40},
    ],
    ids=str,
)
def test_collaborative_joint_space(spark, options):
    data = make_data(seed=8)
    core = fit_core(data, joint_dim=6, collaborative=True, **options)
    model = fit_with_centroids_of(core, spark, data)
    assert_equal_to_core(model, core)
    model.unpersist()


def test_broadcast_shuffle_and_hot_users_agree(spark, tmp_path, monkeypatch):
    data = make_data(seed=1)
    core = fit_core(data, local_norm="sym", local_weight=0.4, joint_dim=4)
    # A shuffle brings interactions to items, and stages are kept in files.
    shuffled = fit_with_centroids_of(
        core, spark, data, 5, broadcast_bytes=0, work_dir=str(tmp_path)
    )
    assert_equal_to_core(shuffled, core)
    names = [path.name for path in next(tmp_path.iterdir()).iterdir()]
    assert {"pairs", "degrees", "a-rows", "a-items", "content"} < set(names)
    assert {"joint-rows", "joint-items"} < set(names)
    # Some users are hot.
    monkeypatch.setattr("sgurinit.spark.users._HOT_INTERACTIONS", 4)
    monkeypatch.setattr("sgurinit.spark.users._COUNT_ONE_IN", 1)
    hot = fit_with_centroids_of(core, spark, data, 1)
    assert_equal_to_core(hot, core)
    plan = hot.users._jdf.queryExecution().toString()
    assert "LeftSemi" in plan
    hot.unpersist()


@st.composite
def draw_data(draw):
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(3, 7))
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)),
            min_size=1, max_size=15,
        )
    )  # fmt: skip
    pairs.append((0, 0))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    scale, offset = draw(st.sampled_from([(1, 0), (1e-3, 0), (100, 50)]))
    rows = rng.normal(size=(n_items, draw(st.integers(1, 4)))) * scale + offset
    present = np.array(draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)))
    present[:2] = True
    features = {"a": ItemFeatures(rows, present), "b": ItemFeatures(rows.astype(np.float32))}
    options = {
        "n_clusters": draw(st.integers(1, 2)),
        "local_weight": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "local_norm": draw(st.sampled_from(["mean", "sym"])),
        "preprocess": draw(st.sampled_from([(), ("center",), ("unit",), ("center", "unit")])),
    }
    return Data(n_users, np.array(pairs), features), options


@settings(
    max_examples=3, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(case=draw_data(), partitions=st.integers(1, 4))
def test_any_data(spark, case, partitions):
    data, options = case
    core = fit_core(data, **options)
    model = fit_with_centroids_of(core, spark, data, partitions)
    assert_equal_to_core(model, core)
    model.unpersist()


def test_tiktok(spark, tiktok_path):
    dataset = load_dataset(tiktok_path)
    matrix = dataset.train_matrix().tocoo()
    data = Data(dataset.n_users, np.stack([matrix.row, matrix.col], 1), dataset.features)
    core = fit_core(data, n_clusters=8, local_norm="sym", joint_dim=16, collaborative=True)
    model = fit_with_centroids_of(core, spark, data)
    assert_equal_to_core(model, core)
    model.unpersist()


def test_ml_100k(spark, data_root):
    path = data_root / "ml-100k"
    if not path.is_dir():
        pytest.skip(f"real data absent: {path}")
    dataset = load_dataset(path)
    # The data set has no features.
    rng = np.random.default_rng(0)
    features = {"text": ItemFeatures(rng.normal(size=(dataset.n_items, 24)).astype(np.float32))}
    matrix = dataset.train_matrix().tocoo()
    data = Data(dataset.n_users, np.stack([matrix.row, matrix.col], 1), features)
    core = fit_core(data, n_clusters=8, preprocess=("center", "whiten"))
    model = fit_with_centroids_of(core, spark, data, 3)
    assert_equal_to_core(model, core)
    model.unpersist()


def test_spark_splits_the_partition_of_a_hot_item(spark):
    data = make_data(seed=4, n_users=200, n_pairs=400)
    pairs = np.concatenate([data.pairs, np.stack([np.arange(190), np.full(190, 7)], 1)])
    data = Data(data.n_users, pairs, data.features)
    core = fit_core(data)
    model = fit_with_centroids_of(core, spark, data, 4, broadcast_bytes=0)
    settings_of_skew = {
        "spark.sql.autoBroadcastJoinThreshold": "-1",
        "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "1k",
        "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "1.0",
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "1k",
    }
    for name, value in settings_of_skew.items():
        spark.conf.set(name, value)
    try:
        users = model.users
        users.collect()
        assert "skew=true" in users._jdf.queryExecution().toString()
        assert_equal_to_core(model, core)
    finally:
        for name in settings_of_skew:
            spark.conf.unset(name)
        model.unpersist()
