"""DualGNN: a user-item graph per modality and a graph of users who share items."""

from __future__ import annotations

from functools import reduce
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.user_neighbors import NeighbourlyConfig, NeighbourlyRecommender


class DualGNNConfig(NeighbourlyConfig):
    """Settings of `DualGNN`; defaults are those of the authors' code.

    The search space is the one of the toolkit MMRec.
    """

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    reg: float = Field(default=0.1, ge=0, description="Weight of the L2 penalty.")


class DualGNN(NeighbourlyRecommender):
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
    """

    citation = (
        "Wang et al., DualGNN: Dual Graph Neural Network for Multimedia Recommendation, "
        "IEEE Transactions on Multimedia 25, 2023, https://doi.org/10.1109/TMM.2021.3138298"
    )

    config: DualGNNConfig

    @override
    def _join(self, users: list[Tensor], items: list[Tensor]) -> tuple[Tensor, Tensor]:
        return reduce(torch.add, users), reduce(torch.add, items)
