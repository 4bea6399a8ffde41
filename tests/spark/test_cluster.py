"""Beyond one process: Spark Connect, and a real cluster that loses a worker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark
import pytest

HERE = Path(__file__).resolve().parents[1] / "helpers"
SPARK = Path(pyspark.__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYSPARK_PYTHON": sys.executable,
    "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "SPARK_HOME": str(SPARK),
    "SPARK_DAEMON_MEMORY": "256m",
    "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / script), *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def daemon(log: Path, *arguments: str):
    """A master or a worker; its executors are stopped with it."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(SPARK / "bin" / "spark-class"), *arguments],
            env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(log: Path, words: str) -> None:
    for _ in range(1200):
        if words in log.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"{words!r} is not in {log.read_text()[-2000:]}")


def test_connect(tmp_path):
    assert run("on_connect.py", str(tmp_path)) == "equal over Connect"


def test_a_worker_is_lost(tmp_path):
    port = str(free_port())
    url = f"spark://127.0.0.1:{port}"
    with ExitStack() as cluster:
        log = tmp_path / "master.log"
        cluster.enter_context(
            daemon(
                log, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1",
                "--port", port, "--webui-port", str(free_port()),
            )
        )  # fmt: skip
        wait_for(log, "New state: ALIVE")
        workers = [
            cluster.enter_context(
                daemon(
                    tmp_path / f"worker-{number}.log", "org.apache.spark.deploy.worker.Worker",
                    "--host", "127.0.0.1", "--webui-port", str(free_port()), "--cores", "1",
                    "--memory", "1g", "--work-dir", str(tmp_path / f"work-{number}"), url,
                )
            )
            for number in range(2)
        ]  # fmt: skip
        for number in range(2):
            wait_for(tmp_path / f"worker-{number}.log", "Successfully registered")
        said = run("on_cluster.py", url, str(workers[0].pid), str(tmp_path / "stages"))
    assert said == "unchanged"
