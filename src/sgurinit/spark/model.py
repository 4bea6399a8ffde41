"""The fitted Spark ML model: users, clusters and items as data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pyspark.ml import Model
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import DataFrame

from sgurinit.core.inputs.arrays import Float64Array
from sgurinit.core.params import Parameters
from sgurinit.spark.frames import check_interactions
from sgurinit.spark.model_io import make_metadata, read_model, write_model
from sgurinit.spark.params import HasMethodParams
from sgurinit.spark.space import SparkSpace
from sgurinit.spark.stages import Stages
from sgurinit.spark.users import compute_user_rows


@dataclass(frozen=True, eq=False)
class SparkClusters:
    """Clusters of the items in one space.

    Parameters
    ----------
    centroids : ndarray of float64, shape (K, d)
        Mean of each cluster's items, or the centroids passed to `fit`.
    sizes : ndarray of int64, shape (K,)
        Number of items of each cluster.
    items : DataFrame
        Columns item and cluster, of the items that have a row.

    See Also
    --------
    SparkSGURInitModel.clusters : The clusters of all spaces.

    Examples
    --------
    >>> from sgurinit.spark import SparkSGURInit
    >>> log = spark.createDataFrame([("ann", 1), ("bob", 2)], "user string, item long")
    >>> items = spark.createDataFrame(
    ...     [(1, [1.0, 0.0]), (2, [0.0, 1.0]), (3, [0.0, 1.0])],
    ...     "item long, vector array<double>",
    ... )
    >>> model = SparkSGURInit(n_clusters=2, random_state=0).fit(log, {"text": items})
    >>> clusters = model.clusters["text"]
    >>> sorted(clusters.sizes.tolist())
    [1, 2]
    >>> clusters.items.columns
    ['item', 'cluster']
    """

    centroids: Float64Array
    sizes: np.ndarray[Any, np.dtype[np.int64]]
    items: DataFrame


class SparkSGURInitModel(Model, HasMethodParams, MLWritable, MLReadable["SparkSGURInitModel"]):
    """Fitted model of `SparkSGURInit`, a Spark ML ``Model``.

    ``transform(interactions)`` computes the rows of new users from their interactions with the same
    items. It returns a frame with the same columns as `users`.

    Attributes
    ----------
    users : DataFrame
        Columns user and, per modality and for ``"joint"`` if ``joint_dim`` is set, an array of
        float: the row of every user.
    clusters : dict of str to SparkClusters
        Clusters of the items, per space.
    items : dict of str to DataFrame
        Columns item, degree, vector (preprocessed) and cluster, per space.
    config : dict
        Parameters of the fit, with the seed of K-means.

    See Also
    --------
    SparkSGURInit : The estimator.
    sgurinit.UserStart : The result of a fit in memory.

    Examples
    --------
    >>> from sgurinit.spark import SparkSGURInit
    >>> log = spark.createDataFrame([("ann", 1), ("bob", 2)], "user string, item long")
    >>> items = spark.createDataFrame(
    ...     [(1, [1.0, 0.0]), (2, [0.0, 1.0])], "item long, vector array<double>"
    ... )
    >>> model = SparkSGURInit(n_clusters=2, random_state=0).fit(log, {"text": items})
    >>> new = spark.createDataFrame([("cyd", 1), ("cyd", 2)], "user string, item long")
    >>> model.transform(new).first()
    Row(user='cyd', text=[0.5, 0.5])
    """

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self._spaces: Mapping[str, SparkSpace] = {}
        self._users: DataFrame | None = None
        self._pairs: DataFrame | None = None
        self._stages = Stages(None)

    @classmethod
    def _from_fit(
        cls,
        parameters: Parameters,
        spaces: Mapping[str, SparkSpace],
        pairs: DataFrame,
        stages: Stages,
    ) -> Self:
        model = cls()
        model.config, model._spaces = parameters.to_config(), dict(spaces)
        model._pairs, model._stages = pairs, stages
        return model

    @property
    def users(self) -> DataFrame:
        """The row of every user; see the class."""
        if self._users is None:
            assert self._pairs is not None  # noqa: S101 - a loaded model has users
            self._users = self._compute_rows(self._pairs)
        return self._users

    @property
    def clusters(self) -> dict[str, SparkClusters]:
        """Clusters of the items per space; see the class."""
        return {
            name: SparkClusters(space.centroids, space.sizes, space.items.select("item", "cluster"))
            for name, space in self._spaces.items()
        }

    @property
    def items(self) -> dict[str, DataFrame]:
        """Items per space; see the class."""
        return {name: space.unpack_items() for name, space in self._spaces.items()}

    def unpersist(self) -> None:
        """Release the frames that executors keep. Save the model or collect its results first."""
        self._stages.release()

    def write(self) -> MLWriter:
        """Return a Spark ML writer; ``save(path)`` is short for ``write().save(path)``.

        The writer makes a folder with ``users``, ``items/<space>`` and ``clusters/<space>``, all
        Parquet, and ``metadata``. Its `save` raises an InputError when the folder holds a model
        already, unless it is called as ``write().overwrite().save(path)``.
        """
        return _ModelWriter(self)

    @classmethod
    def read(cls) -> MLReader[SparkSGURInitModel]:
        """Return a Spark ML reader; ``load(path)`` is short for ``read().load(path)``.

        Its `load` raises an InputError when there is no saved model at the path.
        """
        return _ModelReader()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return self._compute_rows(check_interactions(dataset).distinct())

    def _compute_rows(self, pairs: DataFrame) -> DataFrame:
        parameters = Parameters.from_config(self.config)
        broadcast_bytes = int(self.getOrDefault("broadcast_bytes"))
        return compute_user_rows(pairs, self._spaces, parameters, broadcast_bytes)


class _ModelWriter(MLWriter):
    def __init__(self, model: SparkSGURInitModel) -> None:
        super().__init__()
        self._model = model

    def save(self, path: str) -> None:
        """Write the model to a folder."""
        model, spark = self._model, self.sparkSession
        extra = make_metadata(model.config, model._spaces)
        metadata = DefaultParamsWriter._get_metadata_to_save(model, spark, extra)
        write_model(
            path, model.users, model._spaces, metadata, spark, overwrite=self.shouldOverwrite
        )


class _ModelReader(MLReader[SparkSGURInitModel]):
    def load(self, path: str) -> SparkSGURInitModel:
        """Read a model from a folder."""
        saved = read_model(path, self.sparkSession)
        model = SparkSGURInitModel()
        model.config, model._spaces = saved.metadata["config"], saved.spaces
        model._users = saved.users
        model._resetUid(saved.metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, saved.metadata)
        return model
