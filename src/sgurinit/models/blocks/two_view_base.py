"""Base class of MGCN and SMORE: LightGCN's behavior view plus a side view of modalities."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    UserTable,
    new_embedding,
)
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.losses import MIN_TEMPERATURE, bpr_loss, info_nce_loss, l2_penalty
from sgurinit.models.blocks.sparse_graph import (
    SparseGraph,
    build_bipartite_graph,
    normalize_interactions,
    propagate_mean,
)

if TYPE_CHECKING:
    from sgurinit.data import Dataset

_Rows = Tensor | slice


class TwoViewConfig(RecommenderConfig):
    """Settings that MGCN and SMORE share. The decay is that of their authors' code."""

    learning_rate_decay: float = Field(
        default=0.96, gt=0, le=1, description="Factor on the step size per 50 epochs."
    )
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graphs.")
    contrast: float = Field(default=0.01, ge=0, description="Weight of the contrastive task.")
    temperature: float = Field(
        default=0.2, ge=MIN_TEMPERATURE, description="Temperature of the contrastive task."
    )
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty.")


class TwoViewRecommender(Recommender):
    """Base class of models whose final vectors are the sum of two views.

    The behavior view are free vectors, propagated over the interactions and averaged over the
    layers. The side view is computed by a subclass from the items' vectors by modality, which users
    receive from their items.

    Loss: ``BPR + reg * L2 + contrast * InfoNCE(side, behavior)``, the penalty on the batch's final
    vectors.

    The side view is computed row by row from the propagated tables, so a training step only
    computes it for the batch's distinct users and items.

    See Also
    --------
    sgurinit.models.MGCN, sgurinit.models.SMORE : The models.
    """

    config: TwoViewConfig

    def __init__(self, dataset: Dataset, config: TwoViewConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding = new_embedding(self.n_users, self.config.width)
        self.item_embedding = new_embedding(self.n_items, self.config.width)
        self.features = Features(dataset)
        self.graph = build_bipartite_graph(dataset.train_matrix())
        self.to_users = SparseGraph(normalize_interactions(dataset.train_matrix()))

    @abstractmethod
    def _item_tables(self) -> list[Tensor]:
        """Compute the items' vectors by modality, ``(n_items, width)`` each."""

    @abstractmethod
    def _side(self, behavior: Tensor, content: Tensor) -> Tensor:
        """Compute the side view ``(rows, width)``; `content` is ``(rows, tables, width)``."""

    def _behavior(self) -> Tensor:
        """Compute the behavior view of all nodes, users first, ``(n_users + n_items, width)``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return propagate_mean(self.graph, nodes, self.config.n_layers)

    def _content(self, users: _Rows, items: _Rows) -> Tensor:
        """Compute vectors of some nodes by modality, users first, ``(nodes, tables, width)``."""
        tables = self._item_tables()
        joined = torch.cat(tables, dim=1)
        nodes = torch.cat([self.to_users(joined)[users], joined[items]])
        return nodes.view(len(nodes), len(tables), -1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        behavior = self._behavior()
        nodes = behavior + self._side(behavior, self._content(slice(None), slice(None)))
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, user_rows, user_counts = find_distinct(batch.users)
        items, item_rows, _ = find_distinct(torch.cat([batch.positives, batch.negatives]))
        positive_rows, negative_rows = item_rows.split(len(batch.users))
        behavior = self._behavior()[torch.cat([users, self.n_users + items])]
        side = self._side(behavior, self._content(users, items))
        final_users, final_items = (behavior + side).split([len(users), len(items)])
        vectors = final_users[user_rows], final_items[positive_rows], final_items[negative_rows]

        rows, _, counts = find_distinct(positive_rows)
        rows = rows + len(users)
        contrast = info_nce_loss(
            side[: len(users)], behavior[: len(users)], self.config.temperature, user_counts
        ) + info_nce_loss(side[rows], behavior[rows], self.config.temperature, counts)
        return (
            bpr_loss(*vectors)
            + self.config.reg * l2_penalty(*vectors)
            + self.config.contrast * contrast
        )

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
