"""SG-URInit on Spark data frames. Needs the extra ``sgurinit[spark]``."""

try:
    import pyspark  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: pip install 'sgurinit[spark]'", name=error.name
    ) from error

from sgurinit.spark import _by_value  # noqa: F401 - for its effect
from sgurinit.spark.estimator import SparkSGURInit
from sgurinit.spark.model import SparkClusters, SparkSGURInitModel

__all__ = ["SparkClusters", "SparkSGURInit", "SparkSGURInitModel"]
