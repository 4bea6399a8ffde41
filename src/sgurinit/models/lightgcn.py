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
    new_embedding,
)
from sgurinit.models.blocks.losses import bpr_loss, l2_penalty
from sgurinit.models.blocks.sparse_graph import build_bipartite_graph, propagate_mean

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class LightGCNConfig(RecommenderConfig):
    """Settings of `LightGCN`. Except for the layers, the defaults are the paper's.

    The paper tries 1 to 4 layers. The default of 2 was chosen on validation data: with 3 layers on
    small sparse data, the validation score can stagnate for more than the usual patience of 20
    epochs long before its best, and training stops there.
    """

    search_space: ClassVar[SearchSpace] = {
        "n_layers": (1, 2, 3, 4),
        "reg": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
    }

    n_layers: int = Field(default=2, ge=1, le=8, description="Propagation layers K.")
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty, lambda.")


class LightGCN(Recommender):
    """Light graph convolution: free vectors, propagated linearly and averaged over the layers.

    Score: ``e_u · e_i`` with ``e = mean_k(A^k e0)``, k = 0..K, where ``e0`` are the free vectors
    and A is the symmetrically normalized user-item graph (equations 3 and 4 of the paper, with
    ``alpha_k = 1 / (K + 1)``).

    Loss: ``BPR + reg * L2``, the penalty on the batch's vectors ``e0`` (equation 15). Features are
    not used.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : LightGCNConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    BPRMF : The same without propagation.
    FREEDOM : Samples this graph and adds an item-item graph.
    BM3 : The same graph with a loss that needs no negatives.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = LightGCN(planted(200, 100), LightGCN.Config(n_layers=3))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "He et al., LightGCN: Simplifying and Powering Graph Convolution Network for "
        "Recommendation, SIGIR 2020, https://arxiv.org/abs/2002.02126"
    )
    fixed_shapes = True

    config: LightGCNConfig

    def __init__(self, dataset: Dataset, config: LightGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding = new_embedding(self.n_users, self.config.width)
        self.item_embedding = new_embedding(self.n_items, self.config.width)
        self.graph = build_bipartite_graph(dataset.train_matrix())

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        nodes = propagate_mean(self.graph, nodes, self.config.n_layers)
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, items = self.embed()
        ranking = bpr_loss(users[batch.users], items[batch.positives], items[batch.negatives])
        penalty = l2_penalty(
            self.user_embedding[batch.users],
            self.item_embedding[batch.positives],
            self.item_embedding[batch.negatives],
        )
        return ranking + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
