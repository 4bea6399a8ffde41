"""DRAGON: user-user and item-item graphs beside the user-item graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.graphs import SparseGraph
from sgurinit.models.blocks.item_graph import frozen_item_graph
from sgurinit.models.blocks.user_neighbors import NeighbourlyConfig, NeighbourlyRecommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class DRAGONConfig(NeighbourlyConfig):
    """Settings of `DRAGON`; defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    width: int = Field(default=64, ge=1, description="Width of a modality's vectors.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph; those not named share the rest.",
    )


class DRAGON(NeighbourlyRecommender):
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
    """

    citation = (
        "Zhou et al., Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal "
        "Recommendation, ECAI 2023, https://arxiv.org/abs/2301.12097"
    )

    config: DRAGONConfig

    def __init__(self, dataset: Dataset, config: DRAGONConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.item_graph = SparseGraph(
            frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )

    @override
    def _join(self, users: list[Tensor], items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Side by side, and to the items what their graph says."""
        joined = related = torch.cat(items, dim=1)
        for _ in range(self.config.n_item_layers):
            related = self.item_graph(related)
        return torch.cat(users, dim=1), joined + related
