"""Types of the arrays that the method takes and returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
LabelArray = NDArray[np.int32]
"""Cluster of each item."""
IdArray = NDArray[Any]
"""External ids, int64 or strings."""
