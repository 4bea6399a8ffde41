"""Script of `test_connect`: a client of a Spark Connect server, without a classic session."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession
from spark_cases import assert_equal_to_core, fit_core, get_spaces, make_data

from sgurinit.spark import SparkSGURInit, SparkSGURInitModel

server, folder = sys.argv[1:]
spark = SparkSession.builder.remote(server).getOrCreate()
assert "connect" in type(spark).__module__

data = make_data(seed=2)
core = fit_core(data, local_norm="sym", local_weight=0.4, joint_dim=4, collaborative=True)
interactions, items = data.make_frames(spark)
centroids = {name: space.items.centroids for name, space in get_spaces(core).items()}
parameters = core.get_params() | {"random_state": 0}
del parameters["n_jobs"], parameters["device"]
model = SparkSGURInit(**parameters).fit(interactions, items, centroids=centroids)
assert_equal_to_core(model, core)

model.save(f"{folder}/model")
loaded = SparkSGURInitModel.load(f"{folder}/model")
assert_equal_to_core(loaded, core, loaded.transform(interactions))

# K-means of MLlib over Spark Connect, in a pipeline.
items["a"].write.parquet(f"{folder}/a")
estimator = SparkSGURInit(n_clusters=4, random_state=0, features={"a": f"{folder}/a"})
(fitted,) = Pipeline(stages=[estimator]).fit(interactions).stages
assert fitted.clusters["a"].sizes.sum() == data.n_items
assert np.isfinite(fitted.clusters["a"].centroids).all()

# The command line against the same server.
interactions.where("weight > 0").select("user", "item").write.parquet(f"{folder}/log")
command = [sys.executable, "-m", "sgurinit", "init", f"{folder}/log", "--spark", server]
command += ["--features", f"a={folder}/a", "--n-clusters", "4", "--out", f"{folder}/start"]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
users = spark.read.parquet(f"{folder}/start/users")
assert users.count() == interactions.where("weight > 0").select("user").distinct().count()
spark.stop()
sys.stdout.write("equal over Connect\n")
