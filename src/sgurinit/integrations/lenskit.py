"""LensKit: its trainers' own parameters, set before the first epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgurinit.core import SGURInit
from sgurinit.handover import TIMES, Scale
from sgurinit.integrations._alignment import by_id, start_on
from sgurinit.integrations._numpy_tables import started
from sgurinit.integrations.torch import attach


def start_training(
    scorer: Any,
    features: Mapping[str, Any],
    item_ids: Sequence[Any],
    *,
    estimator: SGURInit | None = None,
    scale: Scale = TIMES,
    fill_items: bool = True,
) -> Any:
    """Make a scorer's training begin from the start, whoever calls ``train``.

    For scorers with user embeddings: ``ImplicitMFScorer``, ``BiasedMFScorer`` (their ALS solves
    for the users first, so what reaches it is chiefly the items' start) and the FlexMF family.

    Parameters
    ----------
    scorer : lenskit.pipeline.Component
        A scorer that was not trained; put it into a pipeline as usual.
    features : mapping of str to ItemFeatures or ndarray
        Rows by modality, in any order.
    item_ids : sequence
        The ids of these rows, as in LensKit's data set.
    estimator : SGURInit, optional
        Parameters of the method; its defaults where None.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `sgurinit.hand_over`.
    fill_items : bool, default True
        See `sgurinit.hand_over`.

    Returns
    -------
    object
        The same scorer.
    """
    make = scorer.create_trainer

    def create_trainer(data: Any, options: Any) -> Any:
        trainer = make(data, options)
        matrix = data.interaction_matrix(format="scipy", layout="csr")
        start = start_on(matrix, by_id(features, item_ids, data.items.ids()), estimator)
        if hasattr(trainer, "model"):
            attach(trainer.model, start, scale=scale, fill_items=fill_items)
            return trainer
        own = trainer.get_parameters()
        users, fixed = started(
            own["user_embeddings"],
            own["item_embeddings"],
            start,
            scale=scale,
            fill_items=fill_items,
        )
        trainer.load_parameters({"user_embeddings": users, "item_embeddings": fixed})
        return trainer

    scorer.create_trainer = create_trainer
    return scorer
