"""The same method on Spark: data frames in, data frames out. Needs ``sgurinit[spark]``."""

try:
    import pyspark  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: pip install 'sgurinit[spark]'", name=error.name
    ) from error

from pyspark import cloudpickle

from sgurinit.spark import batches
from sgurinit.spark.estimator import SGURInit
from sgurinit.spark.model import SGURInitModel

# Executors need not have this package.
cloudpickle.register_pickle_by_value(batches)  # type: ignore[no-untyped-call]

__all__ = ["SGURInit", "SGURInitModel"]
