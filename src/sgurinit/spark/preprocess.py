"""Preprocessing of items, as steps that executors take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame

from sgurinit.spark import batches
from sgurinit.spark.frames import width
from sgurinit.spark.moments import Moments

Steps = list[batches.Step]


def fitted_steps(frame: DataFrame, wanted: Sequence[str]) -> Steps:
    """Steps of `preprocess` with what they need to know of all items.

    Parameters
    ----------
    frame : DataFrame
        Columns item and vector.
    wanted : sequence of {"center", "unit", "whiten"}
        Names of the steps.
    """
    steps: Steps = []
    d = width(frame)
    for name in wanted:
        if name == "unit":
            steps.append(("unit", ()))
            continue
        moments = Moments(frame, steps, d)
        if name == "center":
            steps.append(("center", (moments.mean,)))
            continue
        found = moments.axes(d)
        whitening = np.zeros((d, d))
        whitening[:, : len(found.deviations)] = found.vectors / found.deviations
        steps.append(("turn", (moments.mean, whitening)))
    return steps
