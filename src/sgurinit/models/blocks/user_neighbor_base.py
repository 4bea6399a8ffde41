"""Base class of DualGNN and DRAGON: modality branches plus a graph of similar users."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import Batch, Recommender, RecommenderConfig, UserTable
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.losses import bpr_loss
from sgurinit.models.blocks.modality_branches import Branches, new_modality_weights
from sgurinit.models.blocks.sparse_graph import build_bipartite_graph, propagate_sum
from sgurinit.models.blocks.user_graph import NeighborMean, count_co_interactions

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class UserNeighborConfig(RecommenderConfig):
    """Settings that DualGNN and DRAGON share."""

    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    k_users: int = Field(default=40, ge=1, description="Neighbors per user.")
    reg: float = Field(default=1e-3, ge=0, description="Weight of the L2 penalty.")


class UserNeighborRecommender(Recommender):
    """Base class of models that add the mean of the most similar users to a user's vector.

    Per modality, the users' preferences and the projected features, as unit vectors, are propagated
    over the interactions and all layers are summed. A user's vector in each modality is multiplied
    by a weight of the user's own. A subclass joins the modalities into one vector. To a user's
    vector, the mean of the users that share most items with the user is added, weighted by the
    softmax of how many they share.

    Loss: ``BPR / ln 2 + reg * (mean squares of the batch's preferences and of all weights)``, that
    is, BPR with the logarithm to base 2.

    The mean over neighbors is linear, so a training step only computes it for the batch's users.

    See Also
    --------
    sgurinit.models.DualGNN, sgurinit.models.DRAGON : The models.
    """

    config: UserNeighborConfig

    def __init__(self, dataset: Dataset, config: UserNeighborConfig | None = None) -> None:
        super().__init__(dataset, config)
        interactions = dataset.train_matrix()
        features = Features(dataset)
        self.branches = Branches(self.n_users, features, self.config.width)
        self.modality_weights = new_modality_weights(self.n_users, len(features))
        self.graph = build_bipartite_graph(interactions)
        self.user_graph = NeighborMean(count_co_interactions(interactions, self.config.k_users))

    @abstractmethod
    def _join(self, users: list[Tensor], items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Join the vectors by modality into one vector per user and per item."""

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Compute all users, before their graph is applied, and all items."""
        users, items = [], []
        for table, weights in zip(self.branches(), self.modality_weights.T, strict=True):
            nodes = propagate_sum(self.graph, table, self.config.n_layers)
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
        distinct, rows, _ = find_distinct(batch.users)
        own = (users[distinct] + self.user_graph(users, distinct))[rows]
        ranking = bpr_loss(own, items[batch.positives], items[batch.negatives]) / math.log(2)
        penalty = self.branches.penalty(batch.users) + self.modality_weights.square().mean()
        return ranking + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        return self.branches.user_tables("branches")
