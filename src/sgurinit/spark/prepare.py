"""Preparation and joint reduction of items, as steps that executors take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np
from pyspark.sql import DataFrame

from sgurinit.errors import InputError
from sgurinit.spark import batches
from sgurinit.spark.frames import id_text, width
from sgurinit.spark.moments import Moments
from sgurinit.spark.stages import Stages

Steps = list[batches.Step]


def fitted_steps(frame: DataFrame, wanted: Sequence[str]) -> Steps:
    """Steps of `prepare` with what they need to know of all items.

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


def reduced(features: Mapping[str, DataFrame], dim: int, stages: Stages) -> tuple[DataFrame, Steps]:
    """All modalities in one frame of items, and the steps that take it to the joint space.

    See `sgurinit.core.reduce.reduce_items`.

    Raises
    ------
    InputError
        When all items have the same features.
    """
    blocks = [_block(frame, dim) for frame in features.values()]
    numbered = [
        frame.select("item", frame["vector"].alias(f"v{number}"))
        for number, frame in enumerate(features.values())
    ]
    every = reduce(lambda left, right: left.join(right, "item", "full"), numbered)
    schema = f"item {id_text(every.schema['item'].dataType)}, vector array<double>"
    side_by_side = every.mapInArrow(partial(batches.joined, blocks=blocks), schema)
    joined = stages.keep(side_by_side, "joined")
    total = sum(r for _, r, _ in blocks)
    moments = Moments(joined, [], total, filled=False) if total else None
    found = None if moments is None else moments.axes(dim)
    if moments is None or found is None or not len(found.deviations):
        raise InputError("all items have the same features, so there is nothing to reduce")
    axes = np.zeros((total, dim))
    axes[:, : len(found.deviations)] = found.vectors
    return joined, [("turn", (moments.mean, axes))]


def _block(frame: DataFrame, dim: int) -> tuple[Steps, int, float]:
    """Steps that turn one modality into its block, the block's width, and its scale."""
    d = width(frame)
    steps: Steps = [("center", (Moments(frame, [], d).mean,)), ("unit", ())]
    moments = Moments(frame, steps, d)
    found = moments.axes(dim)
    rank = len(found.deviations)
    steps.append(("turn", (moments.mean, found.vectors)))
    scale = 1.0 / Moments(frame, steps, rank).mean_norm if rank else 1.0
    return steps, rank, scale
