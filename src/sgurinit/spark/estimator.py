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

from sgurinit.core.params import get_default, get_preset
from sgurinit.errors import InputError
from sgurinit.spark.frames import check_features, check_interactions
from sgurinit.spark.joint import compute_joint_items
from sgurinit.spark.model import SparkSGURInitModel
from sgurinit.spark.params import DEFAULT_BROADCAST_BYTES, HasMethodParams
from sgurinit.spark.preprocess import fit_transforms
from sgurinit.spark.space import SparkFit, SparkSpace, fit_space
from sgurinit.spark.stages import Stages

_JOINT = "joint"
_ParamMap = dict[Param[Any], Any]


class SparkSGURInit(
    Estimator[SparkSGURInitModel],
    HasMethodParams,
    DefaultParamsWritable,
    DefaultParamsReadable["SparkSGURInit"],
):
    """`sgurinit.SGURInit` on Spark data frames, as a Spark ML ``Estimator``.

    Parameters, defaults and results are those of `sgurinit.SGURInit`, apart from K-means, which is
    MLlib's.

    Parameters
    ----------
    n_clusters : int >= 1, default 8
        Clusters per modality, K; at most the number of distinct item rows.
    local_weight : float in [0, 1], default 0.5
        Weight w of the local part, the items. The global part, the centroids, has 1 - w.
    local_norm : {"mean", "sym"}, default "mean"
        Local part: the plain mean of a user's items, or symmetric weights, 1 / sqrt(d_u d_i).
    preprocess : sequence of {"center", "unit", "whiten"}, default ()
        Steps applied to each modality's features first, in order. The joint space has its own.
    joint_dim : int in [1, 65536] or None, default None
        Width of the joint space of all modalities; None for no joint space.
    collaborative : bool, default False
        Whether the joint space also describes items by who uses them, not only by what they are.
        Not part of SG-URInit.
    content_weight : float >= 0 or None, default None
        Weight of the content in a collaborative joint space; 0 for interactions only. None: chosen
        on held-out interactions.
    penalty : float > 0 or None, default None
        Ridge penalty of a collaborative joint space. None: chosen on held-out interactions.
    collaborative_rank : int >= 1 or None, default None
        Directions of the interactions that a collaborative joint space is computed from. None: four
        per column.
    kmeans : {"lloyd"}, default "lloyd"
        K-means of MLlib, on a sample of the items where there are more than 16,384 of them and more
        than 256 per cluster.
    random_state : int or None, default None
        Seed of K-means.
    features : mapping of str to str, optional
        Parquet files of the items by modality, with columns item and vector, for `fit` in a
        Pipeline.
    work_dir : str, optional
        Folder that driver and executors share. Stages keep their results there as Parquet, so that
        a lost executor costs only its running stage. By default executors keep them.
    broadcast_bytes : int, default 256 MiB
        Item rows up to this size are broadcast to every executor. For larger ones, a shuffle brings
        the interactions to the items.

    See Also
    --------
    SparkSGURInitModel : The fitted model.
    sgurinit.SGURInit : The estimator in memory, and the description of the method.
    sgurinit.SGURInit.stream : Logs larger than memory on one machine.

    Notes
    -----
    Ids may have any type that Spark can sort, and are returned unchanged.

    Examples
    --------
    `spark` is a SparkSession.

    >>> from sgurinit.spark import SparkSGURInit
    >>> log = spark.createDataFrame(
    ...     [("ann", 1), ("ann", 2), ("bob", 2), ("bob", 3)], "user string, item long"
    ... )
    >>> items = spark.createDataFrame(
    ...     [(1, [1.0, 0.0]), (2, [1.0, 0.0]), (3, [0.0, 1.0])], "item long, vector array<double>"
    ... )
    >>> model = SparkSGURInit(n_clusters=2, random_state=0).fit(log, {"text": items})
    >>> model.users.sort("user").collect()
    [Row(user='ann', text=[1.0, 0.0]), Row(user='bob', text=[0.5, 0.5])]
    """

    def __init__(
        self,
        *,
        n_clusters: int = get_default("n_clusters"),
        local_weight: float = get_default("local_weight"),
        local_norm: str = get_default("local_norm"),
        preprocess: Sequence[str] = get_default("preprocess"),
        joint_dim: int | None = get_default("joint_dim"),
        collaborative: bool = get_default("collaborative"),
        content_weight: float | None = get_default("content_weight"),
        penalty: float | None = get_default("penalty"),
        collaborative_rank: int | None = get_default("collaborative_rank"),
        kmeans: str = get_default("kmeans"),
        random_state: int | None = None,
        features: Mapping[str, str] | None = None,
        work_dir: str | None = None,
        broadcast_bytes: int = DEFAULT_BROADCAST_BYTES,
    ) -> None:
        super().__init__()
        self._set(
            n_clusters=n_clusters,
            local_weight=local_weight,
            local_norm=local_norm,
            preprocess=list(preprocess) if not isinstance(preprocess, str) else preprocess,
            joint_dim=joint_dim,
            collaborative=collaborative,
            content_weight=content_weight,
            penalty=penalty,
            collaborative_rank=collaborative_rank,
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
        SparkSGURInit

        Raises
        ------
        InputError
            When the name is unknown.

        Examples
        --------
        >>> from sgurinit.spark import SparkSGURInit
        >>> estimator = SparkSGURInit.from_preset("stair", n_clusters=4)
        >>> estimator.getOrDefault("local_weight")
        0.1
        """
        return cls(**(get_preset(name) | overrides))

    @overload
    def fit(
        self,
        dataset: DataFrame,
        features: Mapping[str, DataFrame] | _ParamMap | None = None,
        *,
        centroids: Mapping[str, Any] | None = None,
    ) -> SparkSGURInitModel: ...

    @overload
    def fit(
        self, dataset: DataFrame, features: Sequence[_ParamMap]
    ) -> list[SparkSGURInitModel]: ...

    def fit(
        self, dataset: DataFrame, features: Any = None, *, centroids: Any = None
    ) -> SparkSGURInitModel | list[SparkSGURInitModel]:
        """Fit the spaces of the items. Users are computed when `SparkSGURInitModel.users` is read.

        Parameters
        ----------
        dataset : DataFrame
            Training interactions: columns user, item and optionally weight. A weight of zero means
            that the user exists, but has no interaction with the item.
        features : mapping of str to DataFrame, optional
            Items by modality: columns item and vector, an array of floats or doubles or an ML
            vector. Without it, or with a Spark ML parameter map or a sequence of them in its place,
            items are read from the files in the parameter `features`.
        centroids : mapping of str to ndarray of shape (K, d), optional
            Centroids by modality, and for ``"joint"``, in the space of the preprocessed features.
            They are used without changes, instead of those of K-means.

        Returns
        -------
        SparkSGURInitModel
            The fitted model; a list of models for a sequence of parameter maps.

        Raises
        ------
        InputError
            When a parameter is out of range or the data are unusable; the message names it.

        Examples
        --------
        >>> import numpy as np
        >>> from sgurinit.spark import SparkSGURInit
        >>> log = spark.createDataFrame([("ann", 1)], "user string, item long")
        >>> items = spark.createDataFrame([(1, [1.0, 3.0])], "item long, vector array<double>")
        >>> estimator = SparkSGURInit(n_clusters=1)
        >>> model = estimator.fit(log, {"text": items}, centroids={"text": np.zeros((1, 2))})
        >>> model.users.first()
        Row(user='ann', text=[0.5, 1.5])
        """
        if features is None or _has_param_maps(features):
            fitted: SparkSGURInitModel | list[SparkSGURInitModel] = super().fit(dataset, features)
            return fitted
        return self._fit_frames(dataset, features, centroids or {})

    def _fit(self, dataset: DataFrame) -> SparkSGURInitModel:
        paths = self.getOrDefault("features")
        if not paths:
            raise InputError(
                "features are missing: pass a mapping from modality to a DataFrame, or set the "
                "parameter `features` to a mapping from modality to a Parquet file"
            )
        read = dataset.sparkSession.read
        frames = {name: read.parquet(path) for name, path in paths.items()}
        return self._fit_frames(dataset, frames, {})

    def _fit_frames(
        self, interactions: DataFrame, features: Any, centroids: Mapping[str, Any]
    ) -> SparkSGURInitModel:
        parameters = self.check_params()
        folder = self.getOrDefault("work_dir")
        stages = Stages(None if folder is None else f"{folder.rstrip('/')}/{self.uid}")
        checked = check_interactions(interactions)
        tables = check_features(features, interactions.schema["item"].dataType)
        names = [*tables, *([_JOINT] if parameters.joint_dim is not None else [])]
        for name in centroids:
            if name not in names:
                raise InputError(f"centroids: there is no space {name!r}, only {', '.join(names)}")
        # Partitioned before they are deduplicated: there is little to drop within a partition.
        pairs = stages.keep(checked.repartition("user", "item").distinct(), "pairs")
        degrees = stages.keep(
            pairs.where("item IS NOT NULL").groupBy("item").agg(F.count("*").alias("degree")),
            "degrees",
        )
        fit, spaces = SparkFit(parameters, pairs, degrees, stages), {}
        for name in names:
            try:
                spaces[name] = _fit_one_space(fit, name, tables, centroids.get(name))
            except InputError as error:
                raise InputError(f"{name}: {error}") from error
        model = SparkSGURInitModel._from_fit(parameters, spaces, pairs, stages)
        self._copyValues(model)
        return model


def _fit_one_space(
    fit: SparkFit, name: str, tables: Mapping[str, DataFrame], centroids: Any
) -> SparkSpace:
    if name == _JOINT:
        frame, transforms = compute_joint_items(fit, tables)
    else:
        frame, transforms = tables[name], fit_transforms(tables[name], fit.parameters.preprocess)
    given = None if centroids is None else np.asarray(centroids)
    return fit_space(fit, name, frame, transforms, given)


def _has_param_maps(value: Any) -> bool:
    """Tell whether the argument `features` of `fit` holds parameter maps instead of features."""
    return isinstance(value, list | tuple) or (
        isinstance(value, Mapping) and bool(value) and all(isinstance(key, Param) for key in value)
    )
