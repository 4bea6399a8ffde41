"""Models that add to a user's modality branches the mean of the users most like them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import Batch, Recommender, RecommenderConfig, UserTable
from sgurinit.models.blocks.branches import Branches, modality_weights, propagate_sum
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.graphs import bipartite
from sgurinit.models.blocks.losses import bpr
from sgurinit.models.blocks.user_graph import NeighbourMean, co_interactions

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class NeighbourlyConfig(RecommenderConfig):
    """Settings that DualGNN and DRAGON share."""

    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    k_users: int = Field(default=40, ge=1, description="Neighbours per user.")
    reg: float = Field(default=1e-3, ge=0, description="Weight of the L2 penalty.")


class NeighbourlyRecommender(Recommender):
    """A user is their modalities' vectors, weighted, and the mean of the users nearest to them.

    In each modality the users' preferences and the projected features, as unit vectors, are
    propagated over the interactions and all layers are summed; a user multiplies each modality with
    a weight of its own. A subclass says how the modalities become one vector. Then the mean of the
    users that share most items with a user is added, weighted by the softmax of how many they
    share. Losses: BPR with the logarithm to base 2, and an L2 penalty as mean squares of the
    preferences of the batch's users and of all users' weights.

    The mean over user neighbours is linear, so a training step makes it for the batch's users only.
    """

    config: NeighbourlyConfig

    def __init__(self, dataset: Dataset, config: NeighbourlyConfig | None = None) -> None:
        super().__init__(dataset, config)
        interactions = dataset.train_matrix()
        features = Features(dataset)
        self.branches = Branches(self.n_users, features, self.config.width)
        self.modality_weights = modality_weights(self.n_users, len(features))
        self.graph = bipartite(interactions)
        self.user_graph = NeighbourMean(co_interactions(interactions, self.config.k_users))

    @abstractmethod
    def _join(self, users: list[Tensor], items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """One vector of each user and of each item from those by modality."""

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """All users before their graph, and all items."""
        users, items = [], []
        for start, weights in zip(self.branches(), self.modality_weights.T, strict=True):
            nodes = propagate_sum(self.graph, start, self.config.n_layers)
            users.append(nodes[: self.n_users] * weights[:, None])
            items.append(nodes[self.n_users :])
        return self._join(users, items)

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
