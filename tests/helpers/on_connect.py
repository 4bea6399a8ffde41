"""What `test_connect` runs: Spark Connect needs a process without a classic session."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession
from spark_cases import check_equal, core_of, generated, spaces_of

from conftest import SETTINGS
from sgurinit.spark import SGURInit, SGURInitModel

builder = SparkSession.builder.remote("local[2]")
for name, value in SETTINGS.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
assert "connect" in type(spark).__module__

data = generated(seed=2)
core = core_of(data, local_norm="sym", local_weight=0.4, joint_dim=4, collaborative=0.5)
interactions, items = data.frames(spark)
centroids = {name: space.items.centroids for name, space in spaces_of(core).items()}
parameters = core.get_params() | {"random_state": 0}
del parameters["n_jobs"]
model = SGURInit(**parameters).fit(interactions, items, centroids=centroids)
check_equal(model, core)

folder = sys.argv[1]
model.save(f"{folder}/model")
loaded = SGURInitModel.load(f"{folder}/model")
check_equal(loaded, core, loaded.transform(interactions))

# MLlib, over the wire.
items["a"].write.parquet(f"{folder}/a")
estimator = SGURInit(n_clusters=4, random_state=0, features={"a": f"{folder}/a"})
(fitted,) = Pipeline(stages=[estimator]).fit(interactions).stages
assert fitted.clusters["a"].sizes.sum() == data.n_items
assert np.isfinite(fitted.clusters["a"].centroids).all()

# The command line against the server that runs now.
interactions.where("weight > 0").select("user", "item").write.parquet(f"{folder}/log")
master = "sc://localhost:15002"
command = [sys.executable, "-m", "sgurinit", "init", f"{folder}/log", "--spark", master]
command += ["--features", f"a={folder}/a", "--n-clusters", "4", "--out", f"{folder}/start"]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
users = spark.read.parquet(f"{folder}/start/users")
assert users.count() == interactions.where("weight > 0").select("user").distinct().count()
spark.stop()
sys.stdout.write("equal over Connect\n")
