"""Preprocessing of items: fits the transforms that executors apply."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame

from sgurinit.spark.batches.items import Transform
from sgurinit.spark.moments import Moments


def fit_transforms(frame: DataFrame, steps: Sequence[str]) -> list[Transform]:
    """Fit the steps of the parameter `preprocess` to the items.

    Parameters
    ----------
    frame : DataFrame
        Columns item and vector.
    steps : sequence of {"center", "unit", "whiten"}
        Names of the steps, in order.

    Returns
    -------
    list of Transform

    See Also
    --------
    sgurinit.core.steps.preprocess.preprocess_rows : The same for arrays.
    """
    transforms: list[Transform] = []
    for step in steps:
        if step == "unit":
            transforms.append(("unit", ()))
            continue
        moments = Moments(frame, transforms)
        if step == "center":
            transforms.append(("center", (moments.mean,)))
            continue
        width = len(moments.mean)
        principal = moments.compute_axes(width)
        whitening = np.zeros((width, width))
        whitening[:, : len(principal.deviations)] = principal.vectors / principal.deviations
        transforms.append(("project", (moments.mean, whitening)))
    return transforms
