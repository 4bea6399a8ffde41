"""BPR-MF: matrix factorization trained for ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    SearchSpace,
    UserTable,
    new_embedding,
)
from sgurinit.models.blocks.losses import bpr_loss, l2_penalty

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class BPRMFConfig(RecommenderConfig):
    """Settings of `BPRMF`. The default and the search space are common in the literature."""

    search_space: ClassVar[SearchSpace] = {"reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)}

    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty, lambda.")


class BPRMF(Recommender):
    """Matrix factorization with Bayesian personalized ranking.

    Score: ``w_u · h_i`` with free vectors (section 4.3.1 of the paper, ``X = W H^t``).

    Loss (BPR-OPT): ``BPR + reg * L2``, the ranking loss plus an L2 penalty on the vectors of the
    batch. Features are not used.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : BPRMFConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    LightGCN : Propagates the free vectors over the interactions.
    VBPR : Adds a part that is computed from features.

    Notes
    -----
    Where this implementation differs from the paper:

    - One penalty weight for users, positives and negatives instead of three.
    - Adam steps on batches, as for every model, instead of steps on single triples.

    Some toolkits penalize the norm of the batch's vectors. Here it is the squared norm, as in the
    paper.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = BPRMF(planted(200, 100), BPRMF.Config(width=32))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, "
        "UAI 2009, https://arxiv.org/abs/1205.2618"
    )
    fixed_shapes = True

    config: BPRMFConfig

    def __init__(self, dataset: Dataset, config: BPRMFConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding = new_embedding(self.n_users, self.config.width)
        self.item_embedding = new_embedding(self.n_items, self.config.width)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        return self.user_embedding, self.item_embedding

    @override
    def loss(self, batch: Batch) -> Tensor:
        vectors = (
            self.user_embedding[batch.users],
            self.item_embedding[batch.positives],
            self.item_embedding[batch.negatives],
        )
        return bpr_loss(*vectors) + self.config.reg * l2_penalty(*vectors)

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
