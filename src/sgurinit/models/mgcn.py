"""MGCN: multi-view graph convolution with purified modality features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    SearchSpace,
    UserTable,
    embedding,
)
from sgurinit.models.features import Features
from sgurinit.models.graphs import (
    SparseGraph,
    bipartite,
    knn_graph,
    normalised,
    propagate_mean,
)
from sgurinit.models.losses import bpr, info_nce, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MGCNConfig(RecommenderConfig):
    """Settings of `MGCN`; defaults are the paper's and, for the decay, the authors' code's."""

    search_space: ClassVar[SearchSpace] = {"contrast": (0.001, 0.01, 0.1)}

    learning_rate_decay: float = Field(default=0.96, gt=0, le=1, description="Per 50 epochs.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graphs.")
    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")
    contrast: float = Field(default=0.01, ge=0, description="Weight of the contrastive task.")
    temperature: float = Field(default=0.2, gt=0, description="Of the contrastive task.")
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty.")


class MGCN(Recommender):
    """Multi-view graph convolutional network.

    Modality features gate the items' free vectors (behaviour-guided purifier), travel over each
    modality's frozen kNN graph and from items to users (item-item view), while the free vectors
    travel over the interactions as in LightGCN (user-item view). The behaviour-aware fuser splits
    the modalities' vectors by attention into a shared part and specific parts, which the
    behaviour vectors gate. Losses: BPR, an L2 penalty on the final vectors, and a contrastive task
    between fused modality vectors and behaviour vectors.

    Any number of modalities: attention runs over all of them, and the fused vector is the mean of
    the shared part and the specific parts, as in the authors' code, which for two modalities
    divides the sum of the three by 3. That code also updates the raw features with the gradient;
    here they are constants.

    The fuser works row by row, so a training step runs it on the batch's users and items only.
    """

    citation = (
        "Yu et al., Multi-View Graph Convolutional Network for Multimedia Recommendation, "
        "ACM MM 2023, https://arxiv.org/abs/2308.03588"
    )

    config: MGCNConfig

    def __init__(self, dataset: Dataset, config: MGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = embedding(self.n_users, width)
        self.item_embedding = embedding(self.n_items, width)
        self.features = Features(dataset)
        self.item_graphs = nn.ModuleList(
            SparseGraph(knn_graph(features, self.config.k, weighted=True))
            for features in dataset.features.values()
        )
        self.purifiers = nn.ModuleList(
            nn.Sequential(nn.Linear(f.shape[1], width), nn.Linear(width, width), nn.Sigmoid())
            for f in self.features
        )
        self.preferences = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.Sigmoid()) for _ in self.features
        )
        self.attention = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False)
        )
        self.graph = bipartite(dataset.train_matrix())
        self.to_users = SparseGraph(normalised(dataset.train_matrix()))

    def _behaviour(self) -> Tensor:
        """User-item view: all nodes, users first, ``(n_users + n_items, width)``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return propagate_mean(self.graph, nodes, self.config.n_layers)

    def _content(self) -> list[Tensor]:
        """Item-item view, by modality: all nodes, users first."""
        views = []
        for features, purify, graph in zip(
            self.features, self.purifiers, self.item_graphs, strict=True
        ):
            items = self.item_embedding * purify(features)
            for _ in range(self.config.n_item_layers):
                items = graph(items)
            views.append(torch.cat([self.to_users(items), items]))
        return views

    def _fuse(self, behaviour: Tensor, content: list[Tensor]) -> Tensor:
        """Behaviour-aware fuser on any rows: ``(rows, width)``."""
        attention = torch.cat([self.attention(view) for view in content], dim=1).softmax(dim=1)
        shared = sum(
            (weight[:, None] * view for weight, view in zip(attention.T, content, strict=True)),
            start=torch.zeros_like(behaviour),
        )
        fused = shared
        for prefer, view in zip(self.preferences, content, strict=True):
            fused = fused + prefer(behaviour) * (view - shared)
        return fused / (len(content) + 1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        behaviour = self._behaviour()
        fused = self._fuse(behaviour, self._content())
        nodes = behaviour + fused
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, user_rows, user_counts = batch.users.unique(return_inverse=True, return_counts=True)
        items, item_rows = torch.cat([batch.positives, batch.negatives]).unique(return_inverse=True)
        positive_rows, negative_rows = item_rows.split(len(batch.users))
        nodes = torch.cat([users, self.n_users + items])
        behaviour = self._behaviour()[nodes]
        fused = self._fuse(behaviour, [view[nodes] for view in self._content()])
        final_users, final_items = (behaviour + fused).split([len(users), len(items)])
        vectors = final_users[user_rows], final_items[positive_rows], final_items[negative_rows]

        rows, counts = positive_rows.unique(return_counts=True)
        rows = rows + len(users)
        contrast = info_nce(
            fused[: len(users)], behaviour[: len(users)], self.config.temperature, user_counts
        ) + info_nce(fused[rows], behaviour[rows], self.config.temperature, counts)
        return bpr(*vectors) + self.config.reg * l2(*vectors) + self.config.contrast * contrast

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "id", items=self.item_embedding)]
