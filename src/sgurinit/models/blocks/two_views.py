"""Models that add a side view from the modalities to the behaviour view of LightGCN."""

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
    embedding,
)
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.graphs import SparseGraph, bipartite, normalised, propagate_mean
from sgurinit.models.blocks.losses import COLDEST, bpr, info_nce, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset

Rows = Tensor | slice


class TwoViewConfig(RecommenderConfig):
    """Settings that MGCN and SMORE share; the decay is their authors' code's."""

    learning_rate_decay: float = Field(default=0.96, gt=0, le=1, description="Per 50 epochs.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graphs.")
    contrast: float = Field(default=0.01, ge=0, description="Weight of the contrastive task.")
    temperature: float = Field(default=0.2, ge=COLDEST, description="Of the contrastive task.")
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty.")


class TwoViewRecommender(Recommender):
    """Final vectors are the sum of two views of users and items.

    Behaviour: free vectors, propagated over the interactions, averaged over the layers. Side: what
    a subclass makes of the items' vectors by modality, which users hear from their items. Losses:
    BPR, an L2 penalty on the final vectors, and a contrastive task between the two views. The side
    view is made row by row from what was propagated, so a training step makes it for the batch's
    distinct users and items only.
    """

    config: TwoViewConfig

    def __init__(self, dataset: Dataset, config: TwoViewConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding = embedding(self.n_users, self.config.width)
        self.item_embedding = embedding(self.n_items, self.config.width)
        self.features = Features(dataset)
        self.graph = bipartite(dataset.train_matrix())
        self.to_users = SparseGraph(normalised(dataset.train_matrix()))

    @abstractmethod
    def _item_tables(self) -> list[Tensor]:
        """Items' vectors by modality, ``(n_items, width)`` each."""

    @abstractmethod
    def _side(self, behaviour: Tensor, content: Tensor) -> Tensor:
        """Side view ``(rows, width)`` from the behaviour view and ``(rows, tables, width)``."""

    def _behaviour(self) -> Tensor:
        """Behaviour view of all nodes, users first, ``(n_users + n_items, width)``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return propagate_mean(self.graph, nodes, self.config.n_layers)

    def _content(self, users: Rows, items: Rows) -> Tensor:
        """Vectors of some nodes by modality, users first: ``(nodes, tables, width)``."""
        tables = self._item_tables()
        joined = torch.cat(tables, dim=1)
        nodes = torch.cat([self.to_users(joined)[users], joined[items]])
        return nodes.view(len(nodes), len(tables), -1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        behaviour = self._behaviour()
        nodes = behaviour + self._side(behaviour, self._content(slice(None), slice(None)))
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, user_rows, user_counts = batch.users.unique(return_inverse=True, return_counts=True)
        items, item_rows = torch.cat([batch.positives, batch.negatives]).unique(return_inverse=True)
        positive_rows, negative_rows = item_rows.split(len(batch.users))
        behaviour = self._behaviour()[torch.cat([users, self.n_users + items])]
        side = self._side(behaviour, self._content(users, items))
        final_users, final_items = (behaviour + side).split([len(users), len(items)])
        vectors = final_users[user_rows], final_items[positive_rows], final_items[negative_rows]

        rows, counts = positive_rows.unique(return_counts=True)
        rows = rows + len(users)
        contrast = info_nce(
            side[: len(users)], behaviour[: len(users)], self.config.temperature, user_counts
        ) + info_nce(side[rows], behaviour[rows], self.config.temperature, counts)
        return bpr(*vectors) + self.config.reg * l2(*vectors) + self.config.contrast * contrast

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
