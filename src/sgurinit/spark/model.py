"""A fitted start on Spark: users, clusters and items as data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from pyspark.ml import Model
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import DataFrame

from sgurinit.core.inputs.features import Float64Array
from sgurinit.core.params import Parameters
from sgurinit.spark import batches
from sgurinit.spark.frames import checked_interactions, id_text
from sgurinit.spark.params import HasMethod
from sgurinit.spark.space import Space
from sgurinit.spark.stages import Stages
from sgurinit.spark.users import user_rows


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of the items in one space.

    Parameters
    ----------
    centroids : ndarray of float64, shape (K, d)
        Mean of each cluster's items, or what was given.
    sizes : ndarray of int64, shape (K,)
        Items of each.
    items : DataFrame
        Columns item and cluster, of the items that have a row.
    """

    centroids: Float64Array
    sizes: np.ndarray[Any, np.dtype[np.int64]]
    items: DataFrame


class SGURInitModel(Model, HasMethod, MLWritable, MLReadable["SGURInitModel"]):
    """What `sgurinit.spark.SGURInit` gives.

    Attributes
    ----------
    users : DataFrame
        Columns user and, per modality and for ``"joint"``, an array of float: every user's row.
    clusters : dict of str to Clusters
        Clusters of the items, per space.
    items : dict of str to DataFrame
        Columns item, vector (preprocessed), degree and cluster, per space.
    config : dict
        Parameters of the fit, with the seed of K-means.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spaces: Mapping[str, Space] = {}
        self.config: dict[str, Any] = {}
        self._users: DataFrame | None = None
        self._pairs: DataFrame | None = None
        self._stages = Stages(None)

    @classmethod
    def _of(
        cls,
        parameters: Parameters,
        spaces: Mapping[str, Space],
        pairs: DataFrame | None,
        stages: Stages,
        users: DataFrame | None = None,
    ) -> Self:
        model = cls()
        model.config, model.spaces = parameters.to_config(), dict(spaces)
        model._pairs, model._stages, model._users = pairs, stages, users
        return model

    @property
    def users(self) -> DataFrame:
        """Every user's row; see the class."""
        if self._users is None:
            assert self._pairs is not None  # noqa: S101 - fitted, or loaded with users
            self._users = self._rows(self._pairs)
        return self._users

    @property
    def clusters(self) -> dict[str, Clusters]:
        """Clusters of the items; see the class."""
        return {
            name: Clusters(space.centroids, space.sizes, space.items.select("item", "cluster"))
            for name, space in self.spaces.items()
        }

    @property
    def items(self) -> dict[str, DataFrame]:
        """Items of every space; see the class."""
        return {name: _listed(space.items) for name, space in self.spaces.items()}

    def unpersist(self) -> None:
        """Let executors forget what they hold of the fit. Save first, or collect what is wanted."""
        self._stages.release()

    def write(self) -> MLWriter:
        """Return a Spark ML writer; ``save(path)`` is short for ``write().save(path)``."""
        from sgurinit.spark.model_io import Writer  # noqa: PLC0415 - it knows this class

        return Writer(self)

    @classmethod
    def read(cls) -> MLReader[SGURInitModel]:
        """Return a Spark ML reader; ``load(path)`` is short for ``read().load(path)``."""
        from sgurinit.spark.model_io import Reader  # noqa: PLC0415 - it knows this class

        return Reader()

    def copy(self, extra: Any = None) -> Self:
        """Return a model of the same fit with other Spark ML parameters."""
        model = super().copy(extra)
        model.spaces, model.config = self.spaces, self.config
        return model

    def _transform(self, dataset: DataFrame) -> DataFrame:
        """Rows of the users of any interactions with the same items; `transform` says more."""
        return self._rows(checked_interactions(dataset).distinct())

    def _rows(self, pairs: DataFrame) -> DataFrame:
        parameters = Parameters.from_config(self.config)
        budget = int(self.getOrDefault("broadcast_bytes"))
        return user_rows(pairs, self.spaces, parameters, budget)


def _listed(items: DataFrame) -> DataFrame:
    item = id_text(items.schema["item"].dataType)
    schema = f"item {item}, degree long, vector array<float>, cluster int"
    return items.mapInArrow(partial(batches.as_lists, dtype="float32"), schema)
