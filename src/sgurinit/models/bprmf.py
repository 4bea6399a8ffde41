"""BPR-MF: matrix factorisation trained for ranking."""

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
    embedding,
)
from sgurinit.models.blocks.losses import bpr, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class BPRMFConfig(RecommenderConfig):
    """Settings of `BPRMF`; the default and the values to try are those of this literature."""

    search_space: ClassVar[SearchSpace] = {"reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)}

    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty, lambda.")


class BPRMF(Recommender):
    """Matrix factorisation learnt by Bayesian personalised ranking.

    Section 4.3.1 of the paper, ``X = W H^t``, trained on BPR-OPT: the ranking loss with an L2
    penalty on the vectors of the batch. The paper lets the penalty's weight differ between users,
    positives and negatives, and steps along single triples; here one weight serves all, and Adam
    steps along batches, as for every model. Where a toolkit penalises the norm of the batch's
    vectors instead of its square, the paper's square is followed. Features are not used.
    """

    citation = (
        "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, "
        "UAI 2009, https://arxiv.org/abs/1205.2618"
    )

    config: BPRMFConfig

    def __init__(self, dataset: Dataset, config: BPRMFConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding = embedding(self.n_users, self.config.width)
        self.item_embedding = embedding(self.n_items, self.config.width)

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
        return bpr(*vectors) + self.config.reg * l2(*vectors)

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
