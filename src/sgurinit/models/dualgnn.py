"""DualGNN: a user-item graph per modality and a graph of users who share items."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import Batch, Recommender, RecommenderConfig, SearchSpace, UserTable
from sgurinit.models.branches import Branches, modality_weights, propagate_sum
from sgurinit.models.features import Features
from sgurinit.models.graphs import bipartite
from sgurinit.models.losses import bpr
from sgurinit.models.user_graph import NeighbourMean, co_interactions

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class DualGNNConfig(RecommenderConfig):
    """Settings of `DualGNN`; defaults are those of the authors' code.

    The search space is the one of the toolkit MMRec.
    """

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    k_users: int = Field(default=40, ge=1, description="Neighbours per user.")
    reg: float = Field(default=0.1, ge=0, description="Weight of the L2 penalty.")


class DualGNN(Recommender):
    """Dual graph neural network.

    Single-modal representation learning: in each modality the users' preferences and the projected
    features, as unit vectors, are propagated over the interactions and all layers are summed.
    Multi-modal representation learning: an item's vector is the sum over the modalities, a user's
    a sum with weights of its own, to which the mean of the users that share most items with it is
    added, weighted by the softmax of how many they share. Both hold for any number of modalities.

    The authors' code is followed: BPR with the logarithm to base 2, an L2 penalty as mean squares
    of the preferences of the batch's users and of all users' weights, 40 user neighbours. Its
    variant for one data set, which keeps users at the features' own width, is left out, as are the
    items' weights, which it penalises but never uses. Two points differ. That code fills the
    neighbours of a user who has fewer than 40 by drawing from them anew each epoch, and scores with
    the vectors of the last training step; here a user has the neighbours that there are, and scores
    come from the present weights. Which of equally near users are kept is arbitrary there, by
    position here.

    MMRec's port adds the second modality to the first one's vectors in place before it weights
    them, so that a user's vector is ``w1 (v1 + v2) + w2 v2``: the same model, begun with weights
    1/2 and 1 instead of 1/2 and 1/2. Not so in the authors' code or here.

    The mean over user neighbours is linear, so a training step makes it for the batch's users only.
    """

    citation = (
        "Wang et al., DualGNN: Dual Graph Neural Network for Multimedia Recommendation, "
        "IEEE Transactions on Multimedia 25, 2023, https://doi.org/10.1109/TMM.2021.3138298"
    )

    config: DualGNNConfig

    def __init__(self, dataset: Dataset, config: DualGNNConfig | None = None) -> None:
        super().__init__(dataset, config)
        interactions = dataset.train_matrix()
        features = Features(dataset)
        self.branches = Branches(self.n_users, features, self.config.width)
        self.modality_weights = modality_weights(self.n_users, len(features))
        self.graph = bipartite(interactions)
        self.user_graph = NeighbourMean(co_interactions(interactions, self.config.k_users))

    def _nodes(self) -> tuple[Tensor, Tensor]:
        """All users before their graph, and all items."""
        users = items = self.modality_weights.new_zeros(())
        for start, weights in zip(self.branches(), self.modality_weights.T, strict=True):
            nodes = propagate_sum(self.graph, start, self.config.n_layers)
            users = users + nodes[: self.n_users] * weights[:, None]
            items = items + nodes[self.n_users :]
        return users, items

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
