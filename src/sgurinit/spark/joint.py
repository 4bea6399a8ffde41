"""The joint space on Spark: collaborative columns and the content of all modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from sgurinit.errors import InputError
from sgurinit.spark.batches.items import JointBlock, Transform, concatenate_blocks
from sgurinit.spark.collaborative import compute_collaborative_rows
from sgurinit.spark.frames import id_type, vector_width
from sgurinit.spark.moments import Moments
from sgurinit.spark.space import SparkFit


def compute_joint_items(
    fit: SparkFit, features: Mapping[str, DataFrame]
) -> tuple[DataFrame, list[Transform]]:
    """Bring the items of all modalities into one frame.

    Returns
    -------
    items : DataFrame
        Columns item and vector.
    transforms : list of Transform
        Transforms of the vectors that lead to the joint space.

    Raises
    ------
    InputError
        When content is asked for and all items have the same features.

    See Also
    --------
    sgurinit.core.steps.joint.joint_items : The same for arrays.
    """
    dim = fit.parameters.joint_dim
    assert dim is not None  # noqa: S101 - otherwise there is no joint space
    n_collaborative = fit.parameters.count_collaborative(dim)
    if n_collaborative == 0:
        return _compute_content(fit, features, dim)
    collaborative = fit.stages.keep(
        compute_collaborative_rows(fit.pairs, fit.degrees, n_collaborative), "collaborative"
    )
    scale = 1.0 / Moments(collaborative, [], n_collaborative).mean_norm
    blocks = [JointBlock([], n_collaborative, scale)]
    rest = dim - n_collaborative
    if rest and fit.parameters.content:
        content, transforms = _compute_content(fit, features, rest)
        moments = Moments(content, transforms, rest, nonzero_only=False)
        blocks.append(JointBlock(transforms, rest, 1.0 / moments.mean_norm))
    else:  # Items with features have a row, which is zero if nobody uses the item.
        no_vector = F.lit(None).cast("array<double>").alias("vector")
        content = reduce(DataFrame.union, [table.select("item") for table in features.values()])
        content = content.distinct().select("item", no_vector)
        blocks.append(JointBlock([], rest, 1.0))
    return _concatenate([collaborative, content], blocks), []


def _compute_content(
    fit: SparkFit, features: Mapping[str, DataFrame], dim: int
) -> tuple[DataFrame, list[Transform]]:
    """Bring the content alone to `dim` columns, see `sgurinit.core.steps.joint.content_items`."""
    blocks = [_fit_block(frame, dim) for frame in features.values()]
    items = fit.stages.keep(_concatenate(list(features.values()), blocks), "content")
    total = sum(block.width for block in blocks)
    moments = Moments(items, [], total, nonzero_only=False) if total else None
    principal = None if moments is None else moments.compute_axes(dim)
    if moments is None or principal is None or not len(principal.deviations):
        raise InputError("all items have the same features, so there is nothing to reduce")
    axes = np.zeros((total, dim))
    axes[:, : len(principal.deviations)] = principal.vectors
    return items, [("project", (moments.mean, axes))]


def _fit_block(frame: DataFrame, dim: int) -> JointBlock:
    """Fit the block of one modality."""
    width = vector_width(frame)
    transforms: list[Transform] = [("center", (Moments(frame, [], width).mean,)), ("unit", ())]
    moments = Moments(frame, transforms, width)
    principal = moments.compute_axes(dim)
    rank = len(principal.deviations)
    transforms.append(("project", (moments.mean, principal.vectors)))
    scale = 1.0 / Moments(frame, transforms, rank).mean_norm if rank else 1.0
    return JointBlock(transforms, rank, scale)


def _concatenate(frames: Sequence[DataFrame], blocks: Sequence[JointBlock]) -> DataFrame:
    """Make one block from each frame and put the blocks side by side, for items of any frame."""
    numbered = [
        frame.select("item", frame["vector"].alias(f"v{number}"))
        for number, frame in enumerate(frames)
    ]
    joined = reduce(lambda left, right: left.join(right, "item", "full"), numbered)
    schema = f"item {id_type(joined.schema['item'].dataType)}, vector array<double>"
    return joined.mapInArrow(partial(concatenate_blocks, blocks=list(blocks)), schema)
