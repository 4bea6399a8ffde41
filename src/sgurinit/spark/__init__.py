"""SG-URInit on Spark data frames. Needs the extra ``sgurinit[spark]``."""

try:
    import pyspark  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: pip install 'sgurinit[spark]'", name=error.name
    ) from error

from pyspark import cloudpickle

from sgurinit.spark import batches
from sgurinit.spark.estimator import SparkSGURInit
from sgurinit.spark.model import SparkClusters, SparkSGURInitModel

# Executors do not need this package: its functions on batches are sent to them by value.
cloudpickle.register_pickle_by_value(batches)  # type: ignore[no-untyped-call]

__all__ = ["SparkClusters", "SparkSGURInit", "SparkSGURInitModel"]
