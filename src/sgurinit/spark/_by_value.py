"""Send the functions on batches to the executors by value: they do not need this package."""

from __future__ import annotations

from pyspark import cloudpickle

from sgurinit.spark import batches

cloudpickle.register_pickle_by_value(batches)  # type: ignore[no-untyped-call]
