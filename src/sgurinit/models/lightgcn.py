"""LightGCN: interactions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
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
from sgurinit.models.blocks.graphs import bipartite, propagate_mean
from sgurinit.models.blocks.losses import bpr, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class LightGCNConfig(RecommenderConfig):
    """Settings of `LightGCN`; defaults are the paper's but for the layers.

    The paper tries 1 to 4 layers. Two are the default here, chosen on validation: with three, the
    validation curve on small sparse data can rest for more than the usual patience of 20 epochs
    long before its best, and the run stops there.
    """

    search_space: ClassVar[SearchSpace] = {
        "n_layers": (1, 2, 3, 4),
        "reg": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
    }

    n_layers: int = Field(default=2, ge=1, le=8, description="Propagation layers K.")
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty, lambda.")


class LightGCN(Recommender):
    """Light graph convolution: free vectors, propagated linearly, averaged over the layers.

    Equations 3 (propagation), 4 (layer mean with alpha_k = 1/(K+1)) and 15 (BPR with an L2 penalty
    on the layer-0 vectors of the batch) of the paper. Features are not used.
    """

    citation = (
        "He et al., LightGCN: Simplifying and Powering Graph Convolution Network for "
        "Recommendation, SIGIR 2020, https://arxiv.org/abs/2002.02126"
    )

    config: LightGCNConfig

    def __init__(self, dataset: Dataset, config: LightGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding = embedding(self.n_users, self.config.width)
        self.item_embedding = embedding(self.n_items, self.config.width)
        self.graph = bipartite(dataset.train_matrix())

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        nodes = propagate_mean(self.graph, nodes, self.config.n_layers)
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, items = self.embed()
        ranking = bpr(users[batch.users], items[batch.positives], items[batch.negatives])
        penalty = l2(
            self.user_embedding[batch.users],
            self.item_embedding[batch.positives],
            self.item_embedding[batch.negatives],
        )
        return ranking + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
