"""Script of `test_a_worker_is_lost`: the driver of a cluster whose first worker is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np
from pyspark.sql import SparkSession
from spark_cases import SETTINGS, collect_users, make_data

from sgurinit.spark import SparkSGURInit
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


def count_executors() -> int:
    return int(spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1


def wait_for_executors(number: int) -> None:
    for _ in range(600):
        if count_executors() == number:
            return
        time.sleep(0.1)
    sys.exit(f"there are {count_executors()} executors, expected {number}")


wait_for_executors(2)
data = make_data(seed=3, n_users=200, n_items=50, n_pairs=1000)
interactions, items = data.make_frames(spark, 4)
parameters = {"n_clusters": 3, "local_weight": 0.3, "random_state": 0}
# K-means of MLlib for one modality is enough.
given = {"a": np.asarray(data.features["a"].values[:3], dtype=np.float64)}
undisturbed = SparkSGURInit(**parameters).fit(interactions, items, centroids=given)
expected = collect_users(undisturbed.users, "ab")


def kill_worker() -> None:
    """Kill the worker and its executor without warning. The executor's Python ends with it."""
    time.sleep(0.3)
    os.killpg(victim, signal.SIGKILL)


keep = Stages.keep
killers: list[threading.Thread] = []


def kill_and_keep(self, frame, name):
    if name == "b-rows":  # after the interactions and the first modality
        killers.append(threading.Thread(target=kill_worker))
        killers[0].start()
    return keep(self, frame, name)


Stages.keep = kill_and_keep
model = SparkSGURInit(**parameters, work_dir=folder).fit(interactions, items, centroids=given)
found = collect_users(model.users, "ab")
killers[0].join()
wait_for_executors(1)
for name, rows in expected.items():
    np.testing.assert_allclose(found[name], rows, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.clusters[name].sizes, undisturbed.clusters[name].sizes)
spark.stop()
sys.stdout.write("unchanged\n")
