"""Moments of vectors: counts, means, norms and principal axes, from sums over all partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from sgurinit.core.inputs.arrays import Float64Array
from sgurinit.core.steps.pca import Axes, compute_principal_axes
from sgurinit.spark.batches.items import Transform
from sgurinit.spark.batches.sums import merge_sums, sum_first_moments, sum_second_moments

_KEYED_SUMS = "key long, sums binary"


def collect_totals(frame: DataFrame, compute_sums: Callable[[Any], Any]) -> Float64Array:
    """Add up the sums of all partitions; only the totals are sent to the driver.

    Parameters
    ----------
    frame : DataFrame
        Rows to sum over.
    compute_sums : callable
        A function from batches to keyed sums (see `sgurinit.spark.batches.sums`) that gives the
        same keys for every partition.

    Returns
    -------
    ndarray of float64, shape (n_keys, n_sums)
    """
    parts = frame.mapInArrow(compute_sums, _KEYED_SUMS)
    merged = parts.repartition("key").sortWithinPartitions("key")
    rows = merged.mapInArrow(partial(merge_sums, key="key"), _KEYED_SUMS).collect()
    sums = {row["key"]: np.frombuffer(row["sums"], dtype=np.float64) for row in rows}
    return np.stack([sums[key] for key in range(len(sums))])


class Moments:
    """Moments of the vectors of a frame after transforms.

    Parameters
    ----------
    frame : DataFrame
        Columns item and vector, an array. It has at least one row.
    transforms : sequence of Transform
        Transforms of the vectors.
    nonzero_only : bool, default True
        Whether to leave out rows that are all zero before the transforms.

    Attributes
    ----------
    count : int
        Number of rows.
    mean : ndarray of float64, shape (width,)
        Mean of the rows.
    mean_square : float
        Mean squared norm of the rows.
    mean_norm : float
        Mean norm of the rows.
    """

    def __init__(
        self,
        frame: DataFrame,
        transforms: Sequence[Transform],
        *,
        nonzero_only: bool = True,
    ) -> None:
        self._frame = frame
        self._transforms, self._nonzero_only = list(transforms), nonzero_only
        sums = partial(sum_first_moments, transforms=self._transforms, nonzero_only=nonzero_only)
        # One short row for each partition: to add them up here takes less than a shuffle.
        parts = frame.mapInArrow(sums, _KEYED_SUMS).collect()
        first = np.sum([np.frombuffer(part["sums"], dtype=np.float64) for part in parts], axis=0)
        self.count = int(first[0])
        divisor = max(self.count, 1)
        self.mean_square, self.mean_norm = first[1] / divisor, first[2] / divisor
        self.mean: Float64Array = first[3:] / divisor

    def compute_axes(self, at_most: int) -> Axes:
        """Compute the principal axes of the rows, without those that hold no variance."""
        if self.count < 2:
            return Axes(np.zeros((len(self.mean), 0)), np.zeros(0))
        sums = partial(
            sum_second_moments,
            transforms=self._transforms,
            mean=self.mean,
            nonzero_only=self._nonzero_only,
        )
        products = collect_totals(self._frame, sums)
        keep = min(self.count, len(self.mean), at_most)
        return compute_principal_axes(products / (self.count - 1), keep, self.mean_square)
