"""The joint space on Spark: all modalities, and who uses the items, at one width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np
from pyspark.sql import DataFrame

from sgurinit.core.steps.joint import CONTENT_WIDTH
from sgurinit.errors import InputError
from sgurinit.spark.batches.items import JointBlock, Transform, concatenate_blocks
from sgurinit.spark.collaborative import compute_collaborative_frame
from sgurinit.spark.frames import id_type
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
        The content is used and all items have the same features.

    See Also
    --------
    sgurinit.core.steps.joint.compute_joint_items : The same for arrays.
    """
    dim = fit.parameters.joint_dim
    assert dim is not None  # noqa: S101 - otherwise there is no joint space
    if not fit.parameters.collaborative:
        return _compute_content(fit, features, dim)
    blocks: dict[str, JointBlock] = {}
    if fit.parameters.content_weight != 0:
        blocks = {name: _fit_block(frame, CONTENT_WIDTH * dim) for name, frame in features.items()}
    return compute_collaborative_frame(fit, features, blocks), []


def _compute_content(
    fit: SparkFit, features: Mapping[str, DataFrame], dim: int
) -> tuple[DataFrame, list[Transform]]:
    """Bring the content alone to `dim` columns, see `compute_content_items` of the core."""
    blocks = [_fit_block(frame, dim) for frame in features.values()]
    items = fit.stages.keep(_concatenate(list(features.values()), blocks), "content")
    total = sum(block.width for block in blocks)
    moments = Moments(items, [], nonzero_only=False) if total else None
    principal = None if moments is None else moments.compute_axes(dim)
    if moments is None or principal is None or not len(principal.deviations):
        raise InputError("all items have the same features, so there is nothing to reduce")
    axes = np.zeros((total, dim))
    axes[:, : len(principal.deviations)] = principal.vectors
    return items, [("project", (moments.mean, axes))]


def _fit_block(frame: DataFrame, dim: int) -> JointBlock:
    """Fit the block of one modality, see `reduce_modality` of the core."""
    transforms: list[Transform] = [("center", (Moments(frame, []).mean,)), ("unit", ())]
    moments = Moments(frame, transforms)
    principal = moments.compute_axes(dim)
    rank = len(principal.deviations)
    transforms.append(("project", (moments.mean, principal.vectors)))
    scale = 1.0 / Moments(frame, transforms).mean_norm if rank else 1.0
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
