"""Estimator and model: K-means, new users, files, pipelines, errors and the command line."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spark_cases import Data, assert_equal_to_core, collect_users, fit_core, get_spaces, make_data
from typer.testing import CliRunner

import sgurinit
from sgurinit import InputError, ItemFeatures, load_dataset
from sgurinit.cli import app
from sgurinit.core.params import PARAMS, PRESETS


@pytest.fixture(scope="module")
def fit(spark):
    """Data, a fit of the core, and a fit on Spark with the same centroids."""
    from sgurinit.spark import SparkSGURInit

    data = make_data(seed=5)
    options = {"n_clusters": 4, "local_weight": 0.4, "local_norm": "sym", "joint_dim": 3}
    options |= {"collaborative": True, "content_weight": 0.5, "penalty": 5.0, "random_state": 0}
    core = fit_core(data, **options)
    interactions, items = data.make_frames(spark)
    centroids = {name: space.items.centroids for name, space in get_spaces(core).items()}
    estimator = SparkSGURInit(**options)
    model = estimator.fit(interactions, items, centroids=centroids)
    yield data, core, model
    model.unpersist()


def compute_inertia(rows, labels):
    parts = [rows[labels == label] for label in np.unique(labels)]
    return sum(np.square(part - part.mean(0)).sum() for part in parts)


def test_inertia_is_at_most_2_percent_above_the_cores(spark, tiktok_path):
    from sgurinit.spark import SparkSGURInit

    dataset = load_dataset(tiktok_path)
    features = {"audio": dataset.features["audio"]}
    data = Data(dataset.n_users, np.array([[0, 0], [1, 5]]), features)
    rows = np.asarray(features["audio"].values, dtype=np.float64)
    model = SparkSGURInit(n_clusters=8, random_state=3).fit(*data.make_frames(spark))
    labels = model.items["audio"].toPandas().sort_values("item")["cluster"].to_numpy()
    core = fit_core(data, n_clusters=8)
    assert compute_inertia(rows, labels) <= 1.02 * compute_inertia(
        rows, core.start_.clusters["audio"].labels
    )
    means = np.stack([rows[labels == label].mean(0) for label in range(8)])
    np.testing.assert_allclose(model.clusters["audio"].centroids, means, rtol=1e-5, atol=1e-6)
    model.unpersist()


def test_a_seed_gives_the_same_centroids_for_any_partitioning(spark, monkeypatch):
    from sgurinit.spark import SparkSGURInit

    monkeypatch.setattr("sgurinit.spark.kmeans._SAMPLE_ROWS", 40)
    monkeypatch.setattr("sgurinit.spark.kmeans._SAMPLE_ROWS_PER_CLUSTER", 1)
    data = make_data(seed=6, n_items=80)
    data = Data(data.n_users, data.pairs, {"a": data.features["a"]})
    one, many = (
        SparkSGURInit(n_clusters=3, random_state=3).fit(*data.make_frames(spark, partitions))
        for partitions in (1, 5)
    )
    np.testing.assert_allclose(
        one.clusters["a"].centroids, many.clusters["a"].centroids, rtol=1e-12, atol=1e-14
    )
    for model in (one, many):
        model.unpersist()


def test_new_users_are_as_the_cores(spark, fit):
    data, core, model = fit
    # A user of known items, one whose item has no row, and one with an item unused in training.
    pairs = np.array([[0, 1], [0, 4], [1, 9], [2, 29], [2, 3]])
    new = Data(3, pairs, data.features)
    users = model.transform(new.make_frames(spark)[0])
    assert [field.name for field in users.schema] == ["user", "a", "b", "joint"]
    found = collect_users(users, get_spaces(core))
    for name, rows in core.transform(new.matrix).items():
        labels = model.items[name].toPandas().sort_values("item")["cluster"].to_numpy()
        np.testing.assert_array_equal(labels, get_spaces(core)[name].items.labels)
        np.testing.assert_allclose(found[name], rows, rtol=1e-4, atol=1e-4)


def test_save_and_load(spark, fit, tmp_path):
    from sgurinit.spark import SparkSGURInitModel

    data, core, model = fit
    path = str(tmp_path / "model")
    model.save(path)
    with pytest.raises(InputError, match="exists already"):
        model.save(path)
    model.write().overwrite().save(path)
    loaded = SparkSGURInitModel.load(path)
    assert_equal_to_core(loaded, core)
    assert_equal_to_core(loaded, core, loaded.transform(data.make_frames(spark)[0]))
    assert loaded.config == model.config
    assert loaded.uid == model.uid
    (metadata,) = (tmp_path / "model" / "metadata").glob("part-*")
    facts = json.loads(metadata.read_text())
    assert facts["format"] == "sgurinit.spark/1"
    assert facts["config"] == core.start_.config
    with pytest.raises(InputError, match=r"nothing: expected a saved SparkSGURInitModel"):
        SparkSGURInitModel.load(str(tmp_path / "nothing"))


def test_pipeline(spark, tmp_path):
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.feature import SQLTransformer

    from sgurinit.spark import SparkSGURInit

    items = pd.DataFrame({"item": ["x", "y", "z"], "vector": [[1.0, 0], [0, 1.0], [1.0, 1.0]]})
    path = str(tmp_path / "text")
    spark.createDataFrame(items, "item string, vector array<float>").write.parquet(path)
    log = spark.createDataFrame(
        [("ann", "x", 1), ("ann", "y", 1), ("bob", "z", 0)], "who string, item string, n int"
    )
    renamed = SQLTransformer(statement="SELECT who AS user, item FROM __THIS__ WHERE n > 0")
    estimator = SparkSGURInit(
        n_clusters=1, local_weight=1.0, random_state=0, features={"text": path}
    )
    fitted = Pipeline(stages=[renamed, estimator]).fit(log)
    Pipeline(stages=[renamed, estimator]).save(str(tmp_path / "pipeline"))
    again = Pipeline.load(str(tmp_path / "pipeline"))
    assert again.getStages()[1].getOrDefault("local_weight") == 1.0
    fitted.save(str(tmp_path / "model"))
    (ann,) = PipelineModel.load(str(tmp_path / "model")).transform(log).collect()
    assert ann["user"] == "ann"
    assert ann["text"] == [0.5, 0.5]
    # A parameter map, as with any estimator.
    other = estimator.fit(renamed.transform(log), {estimator.local_weight: 0.0})
    assert other.config["local_weight"] == 0.0


def test_presets_and_parameters_are_the_cores():
    from sgurinit.spark import SparkSGURInit

    presets = [(SparkSGURInit.from_preset(n), sgurinit.SGURInit.from_preset(n)) for n in PRESETS]
    for ours, core in [(SparkSGURInit(), sgurinit.SGURInit()), *presets]:
        expected = core.get_params() | {"preprocess": list(core.preprocess)}
        del expected["n_jobs"], expected["device"]
        assert {name: ours.getOrDefault(name) for name in expected} == expected
    assert {name: getattr(SparkSGURInit, name).doc for name in PARAMS} == {
        name: param.text for name, param in PARAMS.items()
    }
    assert SparkSGURInit.from_preset("stair", local_weight=0.5).getOrDefault("local_weight") == 0.5
    with pytest.raises(InputError, match="unknown preset 'best'"):
        SparkSGURInit.from_preset("best")


def test_executors_need_not_have_the_package():
    from pyspark import cloudpickle

    from sgurinit.spark.batches.items import transform_vectors

    sent = cloudpickle.dumps(partial(transform_vectors, transforms=[("unit", ())], dtype="float32"))
    code = f"""
import pickle, sys
sys.modules["sgurinit"] = None
import pyarrow as pa
function = pickle.loads({sent!r})
batch = pa.RecordBatch.from_pydict({{"item": [1], "vector": [[3.0, 4.0]]}})
import numpy as np
(found,) = function([batch])
assert np.allclose(np.frombuffer(found["vector"][0].as_py(), "f4"), [0.6, 0.8])
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_command_line(spark, tmp_path):
    data = make_data(seed=7)
    interactions, items = data.make_frames(spark)
    interactions.write.parquet(str(tmp_path / "log.parquet"))
    items["a"].write.parquet(str(tmp_path / "a.parquet"))
    words = [
        "init", str(tmp_path / "log.parquet"), "--spark", "local[2]", "--features",
        f"a={tmp_path / 'a.parquet'}", "--n-clusters", "2", "--out", str(tmp_path / "out"),
        "--preset", "hybrid", "--joint-dim", "3", "--content-weight", "0.5",
    ]  # fmt: skip
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    users = spark.read.parquet(str(tmp_path / "out" / "users"))
    assert users.count() == data.n_users
    assert users.columns == ["user", "a", "joint"]
    again = CliRunner().invoke(app, [*words, "--n-clusters", "1000"])
    assert again.exit_code == 2
    assert "exists already" in again.output  # before the fit, which cannot do 1,000 clusters
    unknown = [*words[:1], str(tmp_path / "no.parquet"), *words[2:], "--out", str(tmp_path / "new")]
    lost = CliRunner().invoke(app, unknown)
    assert lost.exit_code == 2
    assert "no.parquet" in lost.output
    bare = CliRunner().invoke(app, [*words[:4], "--out", str(tmp_path / "other")])
    assert bare.exit_code == 2
    assert "--features" in bare.output


ITEMS = [(1, [1.0, 0.0]), (2, [0.0, 1.0])]
LOG = [("u", 1, 1.0), ("v", 2, 1.0)]


@pytest.mark.parametrize(
    ("log", "items", "parameters", "message"),
    [
        ([("u", 1, -1.0)], ITEMS, {}, "1 rows have a weight that is missing, negative"),
        ([("u", 1, 0.0)], ITEMS, {}, "there are no training interactions"),
        ([(None, 1, 1.0)], ITEMS, {}, "1 rows have no user; drop these rows"),
        ([("u", 9, 1.0)], ITEMS, {}, "t: no training interaction touches an item"),
        (LOG, [*ITEMS, (2, [1.0, 1.0])], {}, r"features\['t'\]: item 2 has 2 rows"),
        (LOG, [*ITEMS, (3, [1.0])], {}, "vector of item 3 has 1 numbers, others 2"),
        (LOG, [*ITEMS, (3, [1.0, float("nan")])], {}, "vector of item 3 holds NaN"),
        (LOG, [(1, None)], {}, "no item has a row: leave the modality out"),
        (LOG, ITEMS, {"n_clusters": 3}, "t: n_clusters=3 is more than the 2 distinct item rows"),
        (LOG, ITEMS, {"local_weight": 2.0}, r"local_weight must be a number in \[0, 1\]"),
        (LOG, ITEMS, {"kmeans": "faiss"}, "kmeans='faiss' is not available on Spark"),
        (LOG, ITEMS, {"collaborative_rank": 4}, "collaborative_rank=4 has no effect"),
        (LOG, ITEMS, {"penalty": 3.0}, "penalty=3 has no effect"),
        (LOG, ITEMS, {"collaborative": 0.5}, "collaborative must be True or False, got 0.5"),
        (LOG, ITEMS, {"collaborative": True}, "collaborative=True has no effect without `joint_di"),
    ],
)  # fmt: skip
def test_errors_name_bad_data(spark, log, items, parameters, message):
    from sgurinit.spark import SparkSGURInit

    interactions = spark.createDataFrame(log, "user string, item long, weight double")
    table = spark.createDataFrame(items, "item long, vector array<double>")
    with pytest.raises(InputError, match=message):
        SparkSGURInit(**({"n_clusters": 1} | parameters)).fit(interactions, {"t": table})


def test_errors_name_wrong_frames(spark):
    from sgurinit.spark import SparkSGURInit

    log = spark.createDataFrame([("u", "x")], "user string, item string")
    items = spark.createDataFrame(ITEMS, "item long, vector array<double>")
    estimator = SparkSGURInit(n_clusters=1)
    with pytest.raises(InputError, match="holds bigint, that of the interactions string"):
        estimator.fit(log, {"t": items})
    with pytest.raises(InputError, match="there is no column 'item'"):
        estimator.fit(log.drop("item"), {"t": items})
    with pytest.raises(InputError, match=r"features\['t'\]: expected a Spark DataFrame, got Item"):
        estimator.fit(log, {"t": ItemFeatures(np.eye(2))})
    with pytest.raises(InputError, match="features are missing"):
        estimator.fit(log)
    with pytest.raises(InputError, match="expected array<float>"):
        estimator.fit(log, {"t": log.withColumnRenamed("user", "vector")})
    with pytest.raises(InputError, match="modality name 'joint'"):
        estimator.fit(log, {"joint": items})


def test_the_code_of_the_documentation_runs(spark, tmp_path):
    data = make_data(seed=7)
    interactions, items = data.make_frames(spark)
    interactions.drop("weight").write.parquet(str(tmp_path / "log"))
    interactions.drop("weight").limit(3).write.parquet(str(tmp_path / "new"))
    items["a"].write.parquet(str(tmp_path / "items"))
    page = Path(__file__).resolve().parents[2] / "docs/how-to/spark.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    # Relative paths belong to the folder in which Java was started.
    code = re.sub(r'"(log|new|items|start)"', rf'"{tmp_path}/\1"', code)
    exec(code, {"spark": spark})  # noqa: S102 - trusted code of this project
    assert spark.read.parquet(str(tmp_path / "start/users")).columns == ["user", "text"]


@pytest.mark.parametrize("name", ["estimator", "model"])
def test_examples_of_docstrings_run(spark, name):
    module = import_module(f"sgurinit.spark.{name}")
    result = doctest.testmod(module, extraglobs={"spark": spark})
    assert result.attempted
    assert not result.failed
