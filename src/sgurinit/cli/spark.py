"""The command ``init --spark``: computes a start on Spark."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from sgurinit.cli.app import console, print_json, print_line
from sgurinit.errors import InputError
from sgurinit.spark import SparkSGURInit


def init_on_spark(
    master: str,
    interactions: str,
    features: Sequence[str],
    out: str,
    preset: str | None,
    **parameters: Any,
) -> None:
    """Compute a start on Spark and save it.

    Parameters
    ----------
    master : str
        URL of a Spark master or of a Spark Connect server.
    interactions : str
        Parquet with columns user and item, in any storage that Spark can read.
    features : sequence of str
        ``NAME=PARQUET`` per modality.
    out : str
        Folder to create.
    preset : str or None
        Name of a preset.
    **parameters
        Parameters of `SparkSGURInit`.

    Raises
    ------
    InputError
        When an option, a file or its contents are unusable, or Spark does not start.
    """
    paths = dict(_parse_feature(text) for text in features)
    if not paths:
        raise InputError("--features is missing: expected NAME=PARQUET, items and their vectors")
    estimator = (
        SparkSGURInit(**parameters)
        if preset is None
        else SparkSGURInit.from_preset(preset, **parameters)
    )
    estimator.check_params()  # before Spark starts
    session = _open_session(master)
    _refuse_existing(session, out)
    model = estimator.fit(
        _read(session, interactions),
        {name: _read_items(session, path) for name, path in paths.items()},
    )
    model.save(out)
    for name, clusters in model.clusters.items():
        print_line(
            console, f"{name}: clusters of {', '.join(map(str, clusters.sizes.tolist()))} items"
        )
    print_line(console, f"saved to {out}")
    print_json({"out": out, "config": model.config, "tables": list(model.clusters)})


def _parse_feature(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise InputError(f"--features {text}: expected NAME=PARQUET")
    return name, path


def _open_session(master: str) -> SparkSession:
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        if master.startswith("sc://"):
            return SparkSession.builder.remote(master).getOrCreate()
        return SparkSession.builder.master(master).appName("sgurinit").getOrCreate()
    except (PySparkException, OSError) as error:
        raise InputError(
            f"--spark {master}: Spark did not start ({str(error).splitlines()[0]}); it needs Java "
            "17 or later"
        ) from None


def _refuse_existing(session: SparkSession, path: str) -> None:
    """Refuse a folder that holds files, before the long work."""
    files = session.read.format("binaryFile").option("recursiveFileLookup", "true")
    try:
        found = not files.load(path).select("path").isEmpty()
    except AnalysisException:  # nothing is there
        return
    if found:
        raise InputError(f"{path}: exists already; give a new folder, or remove it first")


def _read_items(session: SparkSession, path: str) -> DataFrame:
    """Read items. If there is only one column of lists, it is the vector, whatever its name."""
    frame = _read(session, path)
    lists = [field.name for field in frame.schema if field.dataType.typeName() == "array"]
    if "vector" in frame.columns or len(lists) != 1:
        return frame
    return frame.withColumnRenamed(lists[0], "vector")


def _read(session: SparkSession, path: str) -> DataFrame:
    try:
        return session.read.parquet(path)
    except AnalysisException as error:
        raise InputError(
            f"{path}: expected Parquet that Spark can read ({str(error).splitlines()[0]})"
        ) from None
