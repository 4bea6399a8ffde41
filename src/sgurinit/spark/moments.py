"""Sums that fit the driver, and the principal axes made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from sgurinit.core.inputs.features import Float64Array
from sgurinit.core.steps.pca import Axes, principal_axes
from sgurinit.spark import batches


def totals(frame: DataFrame, sums: Callable[[Any], Any]) -> Float64Array:
    """Add up what each partition gives, shape (n_keys, n_sums); the driver sees the totals alone.

    Parameters
    ----------
    frame : DataFrame
        Rows of items.
    sums : callable
        Batches to batches of ``key`` and packed ``sums``, the same keys from every partition.
    """
    schema = "key long, sums binary"
    parts = frame.mapInArrow(sums, schema).repartition("key").sortWithinPartitions("key")
    rows = parts.mapInArrow(partial(batches.merged, key="key"), schema).collect()
    found = {row["key"]: np.frombuffer(row["sums"], dtype=np.float64) for row in rows}
    return np.stack([found[key] for key in range(len(found))])


class Moments:
    """Number, mean and size of the rows of a frame after steps.

    Parameters
    ----------
    frame : DataFrame
        Columns item and vector, an array.
    steps : sequence of Step
        What is done to the vectors first.
    width : int
        Their width after that.
    filled : bool
        Whether rows that are all zero before the steps are left out.
    """

    def __init__(
        self, frame: DataFrame, steps: Sequence[batches.Step], width: int, *, filled: bool = True
    ) -> None:
        self._frame, self._steps, self._filled = frame, list(steps), filled
        (first,) = totals(
            frame, partial(batches.first_moments, steps=self._steps, width=width, filled=filled)
        )
        self.count = int(first[0])
        shown = max(self.count, 1)
        self.size, self.mean_norm = first[1] / shown, first[2] / shown
        self.mean: Float64Array = first[3:] / shown

    def axes(self, at_most: int) -> Axes:
        """Principal axes of the rows, without those that hold no variance."""
        if self.count < 2:
            return Axes(np.zeros((len(self.mean), 0)), np.zeros(0))
        products = totals(
            self._frame,
            partial(batches.second_moments, steps=self._steps, mean=self.mean, filled=self._filled),
        )
        keep = min(self.count, len(self.mean), at_most)
        return principal_axes(products / (self.count - 1), keep, self.size)
