"""The parameters of the method as Spark ML parameters, under the core's names."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import Param, Params

from sgurinit.core.params import PARAMS, Parameters
from sgurinit.errors import InputError

# Bytes of item rows that are sent to every executor, and pass through the driver for it.
BROADCAST = 256 << 20


def _param(name: str, doc: str) -> Param[Any]:
    return Param(Params._dummy(), name, doc)


def _method(name: str) -> Param[Any]:
    return _param(name, PARAMS[name].text)


class HasMethod(Params):
    """Parameters of the method, and of how Spark goes about it."""

    n_clusters = _method("n_clusters")
    local_weight = _method("local_weight")
    local_norm = _method("local_norm")
    preprocess = _method("preprocess")
    joint_dim = _method("joint_dim")
    collaborative = _method("collaborative")
    collaborative_rank = _method("collaborative_rank")
    content = _method("content")
    kmeans = _method("kmeans")
    random_state = _param("random_state", "seed of K-means, or None")
    features = _param("features", "Parquet of items by modality, where fit is given none")
    work_dir = _param("work_dir", "shared folder that keeps what a stage made, or None")
    broadcast_bytes = _param("broadcast_bytes", "bytes of item rows sent to every executor")

    def checked(self) -> Parameters:
        """Return the parameters of the method, checked as the core does.

        Raises
        ------
        InputError
            Naming the parameter, its value and what is allowed.
        """
        names = (*PARAMS, "random_state")
        parameters = Parameters.check({name: self.getOrDefault(name) for name in names})
        if parameters.kmeans != "lloyd":
            raise InputError(
                f"kmeans={parameters.kmeans!r} is the core's; on Spark K-means is MLlib's, "
                "kmeans='lloyd'"
            )
        return parameters
