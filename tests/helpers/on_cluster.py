"""What `test_cluster` runs: the driver of a real cluster, one of whose workers is killed."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import psutil
from pyspark.sql import SparkSession
from spark_cases import by_user, generated

from conftest import SETTINGS
from sgurinit.spark import SGURInit
from sgurinit.spark.stages import Stages

master, victim, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
builder = SparkSession.builder.master(master)
settings = SETTINGS | {
    "spark.cores.max": "2",
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": SETTINGS["spark.driver.extraJavaOptions"],
    "spark.pyspark.python": sys.executable,
}
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")


def executors() -> int:
    return int(spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1


for _ in range(600):
    if executors() == 2:
        break
    time.sleep(0.1)
assert executors() == 2

data = generated(seed=3, n_users=200, n_items=50, n_pairs=1000)
interactions, items = data.frames(spark, 4)
parameters = {"n_clusters": 3, "local_weight": 0.3, "random_state": 0}
# One modality by MLlib is enough.
given = {"a": np.asarray(data.features["a"].values[:3], dtype=np.float64)}
whole = SGURInit(**parameters).fit(interactions, items, centroids=given)
expected = by_user(whole.users, "ab")


def die() -> None:
    """Like a machine that is switched off: the worker, its executor, their Python."""
    time.sleep(0.3)
    worker = psutil.Process(victim)
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()


kept = Stages.keep
killers = []


def keep(self, frame, name):
    if name == "b-rows":  # interactions and the first modality are done
        killers.append(threading.Thread(target=die))
        killers[0].start()
    return kept(self, frame, name)


Stages.keep = keep
model = SGURInit(**parameters, work_dir=folder).fit(interactions, items, centroids=given)
found = by_user(model.users, "ab")
killers[0].join()
assert not psutil.pid_exists(victim) or psutil.Process(victim).status() == "zombie"
assert executors() < 2
for name, rows in expected.items():
    np.testing.assert_allclose(found[name], rows, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.clusters[name].sizes, whole.clusters[name].sizes)
spark.stop()
sys.stdout.write("unchanged\n")
