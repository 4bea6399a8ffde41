"""SG-URInit as a Spark ML estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, overload

import numpy as np
from pyspark.ml import Estimator
from pyspark.ml.param import Param
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.core.params import default, preset
from sgurinit.errors import InputError
from sgurinit.spark.frames import checked_features, checked_interactions
from sgurinit.spark.joint import joint_items
from sgurinit.spark.model import SGURInitModel
from sgurinit.spark.params import BROADCAST, HasMethod
from sgurinit.spark.preprocess import fitted_steps
from sgurinit.spark.space import Fit, Space, fit_space
from sgurinit.spark.stages import Stages

JOINT = "joint"
ParamMap = dict[Param[Any], Any]


class SGURInit(
    Estimator[SGURInitModel], HasMethod, DefaultParamsWritable, DefaultParamsReadable["SGURInit"]
):
    """The estimator of the core on Spark data frames: the same parameters, the same numbers.

    Parameters
    ----------
    n_clusters, local_weight, local_norm, preprocess, joint_dim, collaborative, \
    collaborative_rank, random_state
        See `sgurinit.SGURInit`.
    kmeans : {"lloyd"}
        MLlib's K-means, on a sample of the items where there are many.
    features : mapping of str to str, optional
        Parquet with columns item and vector, by modality, for `fit` in a Pipeline.
    work_dir : str, optional
        Folder that driver and executors share; what a stage made is kept there in Parquet, so that
        a lost executor costs the stage it was in. By default executors hold it.
    broadcast_bytes : int, default 256 MiB
        Item rows up to this size are sent to every executor; interactions with larger ones are
        brought to the items by a shuffle.

    Notes
    -----
    Column names are those of the core: user, item and optionally weight in interactions (zero is
    no interaction, though the user is there), item and vector in items. Ids may be of any type that
    Spark can sort, and come out as they went in.

    Examples
    --------
    >>> model = SGURInit(random_state=0).fit(interactions, {"text": items})  # doctest: +SKIP
    >>> model.users.write.parquet("users")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        n_clusters: int = default("n_clusters"),
        local_weight: float = default("local_weight"),
        local_norm: str = default("local_norm"),
        preprocess: Sequence[str] = default("preprocess"),
        joint_dim: int | None = default("joint_dim"),
        collaborative: float = default("collaborative"),
        collaborative_rank: int | None = default("collaborative_rank"),
        content: bool = default("content"),
        kmeans: str = default("kmeans"),
        random_state: int | None = None,
        features: Mapping[str, str] | None = None,
        work_dir: str | None = None,
        broadcast_bytes: int = BROADCAST,
    ) -> None:
        super().__init__()
        self._set(
            n_clusters=n_clusters,
            local_weight=local_weight,
            local_norm=local_norm,
            preprocess=list(preprocess) if not isinstance(preprocess, str) else preprocess,
            joint_dim=joint_dim,
            collaborative=collaborative,
            collaborative_rank=collaborative_rank,
            content=content,
            kmeans=kmeans,
            random_state=random_state,
            features=None if features is None else dict(features),
            work_dir=work_dir,
            broadcast_bytes=broadcast_bytes,
        )

    @classmethod
    def from_preset(cls, name: str = "published", **overrides: Any) -> Self:
        """Make an estimator with the parameters of a preset.

        Parameters
        ----------
        name : {"published", "stair", "hybrid"}, default "published"
            Name of the preset, see `sgurinit.SGURInit`.
        **overrides
            Parameters to set on top of it.

        Returns
        -------
        SGURInit

        Raises
        ------
        InputError
            When the name is unknown.
        """
        return cls(**(preset(name) | overrides))

    @overload
    def fit(
        self,
        dataset: DataFrame,
        features: Mapping[str, DataFrame] | ParamMap | None = None,
        *,
        centroids: Mapping[str, Any] | None = None,
    ) -> SGURInitModel: ...

    @overload
    def fit(self, dataset: DataFrame, features: Sequence[ParamMap]) -> list[SGURInitModel]: ...

    def fit(
        self, dataset: DataFrame, features: Any = None, *, centroids: Any = None
    ) -> SGURInitModel | list[SGURInitModel]:
        """Fit the items' spaces; users are computed when they are asked for.

        Parameters
        ----------
        dataset : DataFrame
            Training interactions: user, item and optionally weight.
        features : mapping of str to DataFrame, optional
            Items by modality: item and vector. Left out, or a Spark ML parameter map instead: the
            files of the parameter `features`.
        centroids : mapping of str to ndarray of shape (K, d), optional
            Centroids of modalities, and of ``"joint"``, that are used as they are, in the space
            of the preprocessed features.

        Returns
        -------
        SGURInitModel

        Raises
        ------
        InputError
            On a bad parameter or unusable data; the message names it.
        """
        if features is None or _is_for_spark_ml(features):
            found: SGURInitModel | list[SGURInitModel] = super().fit(dataset, features)
            return found
        return self._start(dataset, features, centroids or {})

    def _fit(self, dataset: DataFrame) -> SGURInitModel:
        paths = self.getOrDefault("features")
        if not paths:
            raise InputError(
                "features are missing: pass a mapping from modality to a DataFrame, or the "
                "parameter features=, a mapping from modality to Parquet"
            )
        read = dataset.sparkSession.read
        return self._start(dataset, {name: read.parquet(path) for name, path in paths.items()}, {})

    def _start(
        self, interactions: DataFrame, features: Any, centroids: Mapping[str, Any]
    ) -> SGURInitModel:
        parameters = self.checked()
        folder = self.getOrDefault("work_dir")
        stages = Stages(None if folder is None else f"{folder.rstrip('/')}/{self.uid}")
        checked = checked_interactions(interactions)
        tables = checked_features(features, interactions.schema["item"].dataType)
        known = [*tables, *([JOINT] if parameters.joint_dim is not None else [])]
        for name in centroids:
            if name not in known:
                raise InputError(f"centroids: {name!r} is none of {', '.join(known)}")
        # Brought together first: there is little to aggregate before.
        pairs = stages.keep(checked.repartition("user", "item").distinct(), "pairs")
        degrees = stages.keep(
            pairs.where("item IS NOT NULL").groupBy("item").agg(F.count("*").alias("degree")),
            "degrees",
        )
        fit, spaces = Fit(parameters, pairs, degrees, stages), {}
        for name in known:
            try:
                spaces[name] = _space(fit, name, tables, centroids.get(name))
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        model = SGURInitModel._of(parameters, spaces, pairs, stages)
        self._copyValues(model)
        return model


def _space(fit: Fit, name: str, tables: Mapping[str, DataFrame], given: Any) -> Space:
    if name == JOINT:
        frame, steps = joint_items(fit, tables)
    else:
        frame, steps = tables[name], fitted_steps(tables[name], fit.parameters.preprocess)
    return fit_space(fit, name, frame, steps, None if given is None else np.asarray(given))


def _is_for_spark_ml(value: Any) -> bool:
    """Tell a parameter map, or several, from features."""
    return isinstance(value, list | tuple) or (
        isinstance(value, Mapping) and bool(value) and all(isinstance(key, Param) for key in value)
    )
