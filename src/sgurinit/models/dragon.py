"""DRAGON: user-user and item-item graphs beside the user-item graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import Batch, Recommender, RecommenderConfig, SearchSpace, UserTable
from sgurinit.models.branches import Branches, modality_weights, propagate_sum
from sgurinit.models.features import Features
from sgurinit.models.graphs import SparseGraph, bipartite
from sgurinit.models.item_graph import frozen_item_graph
from sgurinit.models.losses import bpr
from sgurinit.models.user_graph import NeighbourMean, co_interactions

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class DRAGONConfig(RecommenderConfig):
    """Settings of `DRAGON`; defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    width: int = Field(default=64, ge=1, description="Width of a modality's vectors.")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")
    k_users: int = Field(default=40, ge=1, description="Neighbours per user.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph; those not named share the rest.",
    )
    reg: float = Field(default=1e-3, ge=0, description="Weight of the L2 penalty.")


class DRAGON(Recommender):
    """Dual representations of users and items by homogeneous graphs.

    Heterogeneous graph: in each modality the users' preferences and the projected features, as
    unit vectors, are propagated over the interactions and all layers are summed. Attentive
    concatenation: the modalities' vectors are joined side by side, a user's after multiplication
    with weights of its own. Homogeneous graphs: to an item's vector its mean over the frozen
    kNN graph of `FREEDOM` is added, to a user's vector the mean of the users that share most items
    with it, weighted by the softmax of how many they share. So vectors are ``n_modalities x
    width`` wide, for any number of modalities.

    Where the paper leaves a choice the authors' code is followed: BPR with the logarithm to base
    2, an L2 penalty as mean squares of the preferences of the batch's users and of all users'
    weights, 40 user neighbours. Two points differ. That code fills the neighbours of a user who
    has fewer than 40 by drawing from them anew each epoch, and scores with the vectors of the last
    training step; here a user has the neighbours that there are, and scores come from the present
    weights. Which of equally near users are kept is arbitrary there, by position here.

    The mean over user neighbours is linear, so a training step makes it for the batch's users only.
    """

    citation = (
        "Zhou et al., Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal "
        "Recommendation, ECAI 2023, https://arxiv.org/abs/2301.12097"
    )

    config: DRAGONConfig

    def __init__(self, dataset: Dataset, config: DRAGONConfig | None = None) -> None:
        super().__init__(dataset, config)
        interactions = dataset.train_matrix()
        features = Features(dataset)
        self.branches = Branches(self.n_users, features, self.config.width)
        self.modality_weights = modality_weights(self.n_users, len(features))
        self.graph = bipartite(interactions)
        self.item_graph = SparseGraph(
            frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )
        self.user_graph = NeighbourMean(co_interactions(interactions, self.config.k_users))

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """All users before their graph, all items after theirs, modalities side by side."""
        users, items = [], []
        for start, weights in zip(self.branches(), self.modality_weights.T, strict=True):
            nodes = propagate_sum(self.graph, start, self.config.n_layers)
            users.append(nodes[: self.n_users] * weights[:, None])
            items.append(nodes[self.n_users :])
        joined = related = torch.cat(items, dim=1)
        for _ in range(self.config.n_item_layers):
            related = self.item_graph(related)
        return torch.cat(users, dim=1), joined + related

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        users, items = self._nodes()
        return users + self.user_graph(users), items

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, items = self._nodes()
        distinct, rows = batch.users.unique(return_inverse=True)
        wanted = (users[distinct] + self.user_graph(users, distinct))[rows]
        ranking = bpr(wanted, items[batch.positives], items[batch.negatives]) / math.log(2)
        penalty = self.branches.penalty(batch.users) + self.modality_weights.square().mean()
        return ranking + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        return self.branches.user_tables("branches")
