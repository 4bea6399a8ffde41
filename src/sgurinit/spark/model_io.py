"""A fitted start on disk: Parquet of users, items and clusters, and Spark ML's metadata."""

from __future__ import annotations

import json
import platform
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from pyspark.errors import AnalysisException
from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter
from pyspark.sql import DataFrame, SparkSession

from sgurinit.core.params import Parameters
from sgurinit.errors import InputError
from sgurinit.spark import batches
from sgurinit.spark.frames import id_text
from sgurinit.spark.model import SGURInitModel
from sgurinit.spark.space import Space
from sgurinit.spark.stages import Stages

FORMAT = "sgurinit.spark/1"


class Writer(MLWriter):
    """Writes a model to a folder: ``users``, ``items/<space>``, ``clusters/<space>``, metadata."""

    def __init__(self, model: SGURInitModel) -> None:
        super().__init__()
        self._model = model

    def save(self, path: str) -> None:
        """Write the model to `path`; something that is there is refused, unless to overwrite."""
        mode = "overwrite" if self.shouldOverwrite else "error"
        model, spark = self._model, self.sparkSession
        try:
            model.users.write.mode(mode).parquet(f"{path}/users")
        except AnalysisException as error:
            if "PATH_ALREADY_EXISTS" not in str(error):
                raise
            raise InputError(
                f"{path}: exists already; give a new folder, or overwrite it"
            ) from None
        for name, items in model.items.items():
            items.write.mode(mode).parquet(f"{path}/items/{name}")
        for name, space in model.spaces.items():
            _clusters(spark, space).write.mode(mode).parquet(f"{path}/clusters/{name}")
        # Last: a folder with metadata is whole.
        extra = {
            "format": FORMAT,
            "config": model.config,
            "spaces": list(model.spaces),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("sgurinit", "numpy", "scipy", "pyspark")},
            },
        }
        text = DefaultParamsWriter._get_metadata_to_save(model, spark, extra)
        line = spark.createDataFrame([(text,)], "value string").coalesce(1)
        line.write.mode(mode).text(f"{path}/metadata")


class Reader(MLReader[SGURInitModel]):
    """Reads what `Writer` wrote."""

    def load(self, path: str) -> SGURInitModel:
        """Read a model.

        Raises
        ------
        InputError
            Nothing of ours is at `path`.
        """
        spark = self.sparkSession
        try:
            metadata = DefaultParamsReader.loadMetadata(path, spark)
        except (AnalysisException, TypeError, json.JSONDecodeError) as error:
            why = str(error).splitlines()[0]
            raise InputError(f"{path}: expected a saved model of Spark ({why})") from None
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{path}: is no saved start (format {metadata.get('format')!r}, expected "
                f"{FORMAT!r})"
            )
        config = metadata["config"]
        model = SGURInitModel._of(
            Parameters.from_config(config),
            {name: _space(spark, path, name) for name in metadata["spaces"]},
            None,
            Stages(None),
            spark.read.parquet(f"{path}/users"),
        )
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model


def _clusters(spark: SparkSession, space: Space) -> DataFrame:
    rows: list[tuple[Any, ...]] = [
        (number, centroid.tolist(), int(size), float(used))
        for number, (centroid, size, used) in enumerate(
            zip(space.centroids, space.sizes, space.interactions, strict=True)
        )
    ]
    schema = "cluster int, centroid array<double>, items long, interactions double"
    return spark.createDataFrame(rows, schema).coalesce(1)


def _space(spark: SparkSession, path: str, name: str) -> Space:
    rows = sorted(spark.read.parquet(f"{path}/clusters/{name}").collect(), key=lambda row: row[0])
    items = spark.read.parquet(f"{path}/items/{name}")
    schema = f"item {id_text(items.schema['item'].dataType)}, degree long, vector binary"
    packed = items.mapInArrow(
        partial(batches.prepared, steps=[], dtype="float32"), f"{schema}, cluster int"
    )
    return Space(
        packed,
        np.array([row["centroid"] for row in rows]),
        np.array([row["items"] for row in rows], dtype=np.int64),
        np.array([row["interactions"] for row in rows]),
    )
