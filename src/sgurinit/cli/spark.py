"""Starts that are computed on Spark."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession

from sgurinit.cli.app import console, emit, say
from sgurinit.errors import InputError
from sgurinit.spark import SGURInit


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
        Where: a master's URL, or that of a Spark Connect server.
    interactions : str
        Parquet with columns user and item, in any storage that Spark reads.
    features : sequence of str
        ``NAME=PARQUET`` per modality.
    out : str
        Folder to make.
    preset : str or None
        Name of a preset.
    **parameters
        Of the estimator.
    """
    named = dict(_named(text) for text in features)
    if not named:
        raise InputError("--features is missing: NAME=PARQUET of items and their vectors")
    estimator = (
        SGURInit(**parameters) if preset is None else SGURInit.from_preset(preset, **parameters)
    )
    estimator.checked()
    session = _session(master)
    model = estimator.fit(
        _read(session, interactions), {name: _items(session, path) for name, path in named.items()}
    )
    model.save(out)
    for name, clusters in model.clusters.items():
        say(console, f"{name}: clusters of {', '.join(map(str, clusters.sizes.tolist()))} items")
    say(console, f"saved to {out}")
    emit({"out": out, "config": model.config, "tables": list(model.clusters)})


def _named(text: str) -> tuple[str, str]:
    name, mark, path = text.partition("=")
    if not (name and mark and path):
        raise InputError(f"--features {text}: expected NAME=PARQUET")
    return name, path


def _session(master: str) -> SparkSession:
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


def _items(session: SparkSession, path: str) -> DataFrame:
    """Items with their vectors, whatever the one column of lists is called."""
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
