"""Files of a saved model: Parquet of users, items and clusters, and Spark ML's metadata."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from pyspark.errors import AnalysisException
from pyspark.ml.util import DefaultParamsReader
from pyspark.sql import DataFrame, SparkSession

from sgurinit.errors import InputError
from sgurinit.spark.batches.items import transform_vectors
from sgurinit.spark.frames import id_type
from sgurinit.spark.space import SparkSpace

_FORMAT = "sgurinit.spark/1"


@dataclass(frozen=True, eq=False)
class SavedModel:
    """The parts of a saved model.

    Parameters
    ----------
    metadata : dict
        Spark ML's metadata, with the entries of `make_metadata`.
    spaces : dict of str to SparkSpace
        Fitted spaces.
    users : DataFrame
        Users' rows.
    """

    metadata: dict[str, Any]
    spaces: dict[str, SparkSpace]
    users: DataFrame


def make_metadata(config: Mapping[str, Any], spaces: Mapping[str, SparkSpace]) -> dict[str, Any]:
    """Make the entries that this library adds to Spark ML's metadata."""
    return {
        "format": _FORMAT,
        "config": dict(config),
        "spaces": list(spaces),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("sgurinit", "numpy", "scipy", "pyspark")},
        },
    }


def write_model(
    path: str,
    users: DataFrame,
    spaces: Mapping[str, SparkSpace],
    metadata: str,
    spark: SparkSession,
    *,
    overwrite: bool,
) -> None:
    """Write ``users``, ``items/<space>``, ``clusters/<space>`` and ``metadata`` into a folder.

    Parameters
    ----------
    path : str
        The folder, in any storage that Spark can write to.
    users : DataFrame
        Users' rows.
    spaces : mapping of str to SparkSpace
        Fitted spaces.
    metadata : str
        Spark ML's metadata as JSON.
    spark : SparkSession
        The session that writes.
    overwrite : bool
        Whether to replace existing files.

    Raises
    ------
    InputError
        When the folder holds a model and `overwrite` is False.
    """
    mode = "overwrite" if overwrite else "error"
    try:
        users.write.mode(mode).parquet(f"{path}/users")
    except AnalysisException as error:
        if "PATH_ALREADY_EXISTS" not in str(error):
            raise
        raise InputError(f"{path}: exists already; give a new folder, or overwrite it") from None
    for name, space in spaces.items():
        space.unpack_items().write.mode(mode).parquet(f"{path}/items/{name}")
        _cluster_frame(spark, space).write.mode(mode).parquet(f"{path}/clusters/{name}")
    # Metadata is written last: a folder that has it is complete.
    line = spark.createDataFrame([(metadata,)], "value string").coalesce(1)
    line.write.mode(mode).text(f"{path}/metadata")


def read_model(path: str, spark: SparkSession) -> SavedModel:
    """Read what `write_model` wrote.

    Raises
    ------
    InputError
        When there is no saved model at `path`, it has another format or is incomplete.
    """
    try:
        metadata = DefaultParamsReader.loadMetadata(path, spark)
    except (AnalysisException, TypeError, json.JSONDecodeError) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a saved SparkSGURInitModel ({why})") from None
    if metadata.get("format") != _FORMAT:
        raise InputError(
            f"{path}: expected a saved SparkSGURInitModel of format {_FORMAT!r}, got "
            f"{metadata.get('format')!r}"
        )
    try:
        return SavedModel(
            metadata=metadata,
            spaces={name: _read_space(spark, path, name) for name in metadata["spaces"]},
            users=spark.read.parquet(f"{path}/users"),
        )
    except (AnalysisException, LookupError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: the saved SparkSGURInitModel is incomplete or damaged ({why}); save it again"
        ) from None


def _cluster_frame(spark: SparkSession, space: SparkSpace) -> DataFrame:
    rows: list[tuple[Any, ...]] = [
        (number, centroid.tolist(), int(size), float(interactions))
        for number, (centroid, size, interactions) in enumerate(
            zip(space.centroids, space.sizes, space.interactions, strict=True)
        )
    ]
    schema = "cluster int, centroid array<double>, items long, interactions double"
    return spark.createDataFrame(rows, schema).coalesce(1)


def _read_space(spark: SparkSession, path: str, name: str) -> SparkSpace:
    rows = sorted(spark.read.parquet(f"{path}/clusters/{name}").collect(), key=lambda row: row[0])
    items = spark.read.parquet(f"{path}/items/{name}")
    item = id_type(items.schema["item"].dataType)
    packed = items.mapInArrow(
        partial(transform_vectors, transforms=[], dtype="float32"),
        f"item {item}, degree long, vector binary, cluster int",
    )
    return SparkSpace(
        packed,
        np.array([row["centroid"] for row in rows]),
        np.array([row["items"] for row in rows], dtype=np.int64),
        np.array([row["interactions"] for row in rows]),
    )
