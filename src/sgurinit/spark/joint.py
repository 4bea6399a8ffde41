"""The joint space of all modalities: items by who uses them and by content, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.errors import InputError
from sgurinit.spark import batches
from sgurinit.spark.collaborative import collaborative_rows
from sgurinit.spark.frames import id_text, width
from sgurinit.spark.moments import Moments
from sgurinit.spark.preprocess import Steps
from sgurinit.spark.space import Fit

# Steps that turn a frame's vectors into a block of the joint space, its width, and its scale.
Block = tuple[Steps, int, float]


def joint_items(fit: Fit, features: Mapping[str, DataFrame]) -> tuple[DataFrame, Steps]:
    """All items in one frame, and the steps that take it to the joint space.

    See `sgurinit.core.steps.joint.joint_items`.

    Raises
    ------
    InputError
        When content is asked for and all items have the same features.
    """
    dim = fit.parameters.joint_dim
    assert dim is not None  # noqa: S101 - that is why there is such a space
    n_collaborative = fit.parameters.n_collaborative(dim)
    if n_collaborative == 0:
        return _content(fit, features, dim)
    by_users = fit.stages.keep(
        collaborative_rows(fit.pairs, fit.degrees, n_collaborative), "collaborative"
    )
    frames = [by_users]
    scale = 1.0 / Moments(by_users, [], n_collaborative).mean_norm
    blocks: list[Block] = [([], n_collaborative, scale)]
    rest = dim - n_collaborative
    if rest and fit.parameters.content:
        content, steps = _content(fit, features, rest)
        blocks.append((steps, rest, 1.0 / Moments(content, steps, rest, filled=False).mean_norm))
    else:  # These items have a row, if of zeros where nobody uses them.
        no_vector = F.lit(None).cast("array<double>").alias("vector")
        content = reduce(DataFrame.union, [table.select("item") for table in features.values()])
        content = content.distinct().select("item", no_vector)
        blocks.append(([], rest, 1.0))
    frames.append(content)
    return _side_by_side(frames, blocks), []


def _content(fit: Fit, features: Mapping[str, DataFrame], dim: int) -> tuple[DataFrame, Steps]:
    """Content alone, see `sgurinit.core.steps.joint.content_items`."""
    blocks = [_block(frame, dim) for frame in features.values()]
    joined = fit.stages.keep(_side_by_side(list(features.values()), blocks), "joined")
    total = sum(r for _, r, _ in blocks)
    moments = Moments(joined, [], total, filled=False) if total else None
    found = None if moments is None else moments.axes(dim)
    if moments is None or found is None or not len(found.deviations):
        raise InputError("all items have the same features, so there is nothing to reduce")
    axes = np.zeros((total, dim))
    axes[:, : len(found.deviations)] = found.vectors
    return joined, [("turn", (moments.mean, axes))]


def _side_by_side(frames: Sequence[DataFrame], blocks: Sequence[Block]) -> DataFrame:
    """Items of any of the frames, with the blocks that these make one beside the other."""
    numbered = [
        frame.select("item", frame["vector"].alias(f"v{number}"))
        for number, frame in enumerate(frames)
    ]
    every = reduce(lambda left, right: left.join(right, "item", "full"), numbered)
    schema = f"item {id_text(every.schema['item'].dataType)}, vector array<double>"
    return every.mapInArrow(partial(batches.joined, blocks=list(blocks)), schema)


def _block(frame: DataFrame, dim: int) -> Block:
    """Steps that turn one modality into its block, the block's width, and its scale."""
    d = width(frame)
    steps: Steps = [("center", (Moments(frame, [], d).mean,)), ("unit", ())]
    moments = Moments(frame, steps, d)
    found = moments.axes(dim)
    rank = len(found.deviations)
    steps.append(("turn", (moments.mean, found.vectors)))
    scale = 1.0 / Moments(frame, steps, rank).mean_norm if rank else 1.0
    return steps, rank, scale
