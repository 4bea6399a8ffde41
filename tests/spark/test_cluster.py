"""Beyond one process: Spark Connect, and a cluster that loses a worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark
import pytest
from spark_cases import SETTINGS

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
SPARK = Path(pyspark.__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYSPARK_PYTHON": sys.executable,
    "PYTHONPATH": os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "SPARK_HOME": str(SPARK),
    "SPARK_DAEMON_MEMORY": "1g",
    "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def run_script(name: str, *arguments: str) -> str:
    """Run a script of tests/helpers in a separate process and return its last line."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HELPERS / name), *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@contextmanager
def start_daemon(log: Path, *arguments: str):
    """Run a Java process of Spark as the leader of a process group, and stop it at the end."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(SPARK / "bin" / "spark-class"), *arguments], env=ENVIRONMENT,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
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


def wait_for(process: subprocess.Popen, log: Path, pattern: str) -> re.Match[str]:
    """Wait until the log of a process has a line that matches."""
    for _ in range(1200):
        if match := re.search(pattern, log.read_text()):
            return match
        if process.poll() is not None:
            break
        time.sleep(0.1)
    pytest.fail(f"{pattern!r} is not in {log.read_text()[-2000:]}")


def test_connect(tmp_path):
    log = tmp_path / "server.log"
    settings = SETTINGS | {"spark.master": "local[2]", "spark.connect.grpc.binding.port": "0"}
    with start_daemon(
        log, "org.apache.spark.deploy.SparkSubmit",
        *[word for name, value in settings.items() for word in ("--conf", f"{name}={value}")],
        "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
    ) as server:  # fmt: skip
        port = wait_for(server, log, r"Spark Connect server started at: .*:(\d+)")[1]
        last_line = run_script("on_connect.py", f"sc://localhost:{port}", str(tmp_path))
    assert last_line == "equal over Connect"


def test_a_worker_is_lost(tmp_path):
    with ExitStack() as cluster:
        log = tmp_path / "master.log"
        master = cluster.enter_context(
            start_daemon(
                log, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1",
                "--port", "0", "--webui-port", "0",
            )
        )  # fmt: skip
        url = wait_for(master, log, r"Starting Spark master at (spark://\S+)")[1]
        wait_for(master, log, "New state: ALIVE")
        workers = [
            cluster.enter_context(
                start_daemon(
                    tmp_path / f"worker-{number}.log", "org.apache.spark.deploy.worker.Worker",
                    "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1",
                    "--memory", "1g", "--work-dir", str(tmp_path / f"work-{number}"), url,
                )
            )
            for number in range(2)
        ]  # fmt: skip
        for number, worker in enumerate(workers):
            wait_for(worker, tmp_path / f"worker-{number}.log", "Successfully registered")
        last_line = run_script("on_cluster.py", url, str(workers[0].pid), str(tmp_path / "stages"))
    assert last_line == "unchanged"
