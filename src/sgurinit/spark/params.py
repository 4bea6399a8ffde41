"""Parameters of SG-URInit as Spark ML parameters, with the names of the core."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import Param, Params

from sgurinit.core.params import PARAMS, Parameters
from sgurinit.errors import InputError

DEFAULT_BROADCAST_BYTES = 256 << 20


def _param(name: str, doc: str) -> Param[Any]:
    return Param(Params._dummy(), name, doc)


def _method_param(name: str) -> Param[Any]:
    return _param(name, PARAMS[name].text)


class HasMethodParams(Params):
    """Parameters of the method and of its execution on Spark."""

    n_clusters = _method_param("n_clusters")
    local_weight = _method_param("local_weight")
    local_norm = _method_param("local_norm")
    preprocess = _method_param("preprocess")
    joint_dim = _method_param("joint_dim")
    collaborative = _method_param("collaborative")
    content_weight = _method_param("content_weight")
    penalty = _method_param("penalty")
    collaborative_rank = _method_param("collaborative_rank")
    kmeans = _method_param("kmeans")
    random_state = _param("random_state", "Seed of K-means, or None.")
    features = _param("features", "Parquet files of items by modality, for fit in a Pipeline.")
    work_dir = _param("work_dir", "Shared folder for the results of stages, or None.")
    broadcast_bytes = _param("broadcast_bytes", "Largest size of item rows that are broadcast.")

    def check_params(self) -> Parameters:
        """Check the parameters of the method, as the core does, and return them.

        Raises
        ------
        InputError
            When a parameter is out of range or has no effect; the message names it, its value and
            what is allowed.
        """
        names = (*PARAMS, "random_state")
        parameters = Parameters.check({name: self.getOrDefault(name) for name in names})
        parameters.check_joint_written()
        if parameters.kmeans != "lloyd":
            raise InputError(
                f"kmeans={parameters.kmeans!r} is not available on Spark, which uses K-means of "
                "MLlib: set kmeans='lloyd'"
            )
        return parameters
