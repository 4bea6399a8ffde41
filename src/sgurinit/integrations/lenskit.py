"""LensKit: initial parameters of its trainers, set before the first epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgurinit.core import SGURInit
from sgurinit.handover import DEFAULT_SCALE, Scale
from sgurinit.integrations._alignment import align_features, fit_start
from sgurinit.integrations._numpy_tables import fill_copies
from sgurinit.integrations.torch import attach


def attach_to_scorer(
    scorer: Any,
    features: Mapping[str, Any],
    item_ids: Sequence[Any],
    *,
    estimator: SGURInit | None = None,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> Any:
    """Change a scorer, in place, so that its training begins with a start.

    For scorers with user embeddings: ``ImplicitMFScorer``, ``BiasedMFScorer`` and the FlexMF
    family. The ALS of the first two solves for the users first, so mainly the items' start has an
    effect there. The start is fitted when training begins.

    Parameters
    ----------
    scorer : lenskit.pipeline.Component
        A scorer that was not trained. Put it into a pipeline as usual.
    features : mapping of str to ItemFeatures or ndarray
        Features by modality, one row per item, in any order.
    item_ids : sequence
        External id of each row, as in LensKit's data set.
    estimator : SGURInit, optional
        Parameters of the method. ``SGURInit(random_state=0)`` by default.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Returns
    -------
    object
        The same scorer.

    Raises
    ------
    InputError
        When training begins: no id is known to LensKit, or the start's `preprocess` has no effect.

    See Also
    --------
    sgurinit.integrations.torch.attach : The same for any torch module.

    Examples
    --------
    ```python
    scorer = FlexMFImplicitScorer(embedding_size=64)
    pipeline = topn_pipeline(attach_to_scorer(scorer, {"image": vectors}, item_ids))
    pipeline.train(dataset)
    ```
    """
    original = scorer.create_trainer

    def create_trainer(data: Any, options: Any) -> Any:
        trainer = original(data, options)
        matrix = data.interaction_matrix(format="scipy", layout="csr")
        start = fit_start(matrix, align_features(features, item_ids, data.items.ids()), estimator)
        if hasattr(trainer, "model"):
            attach(trainer.model, start, scale=scale, fill_items=fill_items)
            return trainer
        own = trainer.get_parameters()
        users, items = fill_copies(
            own["user_embeddings"],
            own["item_embeddings"],
            start,
            scale=scale,
            fill_items=fill_items,
        )
        trainer.load_parameters({"user_embeddings": users, "item_embeddings": items})
        return trainer

    scorer.create_trainer = create_trainer
    return scorer
