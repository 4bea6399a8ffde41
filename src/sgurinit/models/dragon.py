"""DRAGON: a user-user and an item-item graph in addition to the user-item graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.core.params import MAX_WIDTH
from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.item_graph import build_frozen_item_graph
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.models.blocks.user_neighbor_base import UserNeighborConfig, UserNeighborRecommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class DRAGONConfig(UserNeighborConfig):
    """Settings of `DRAGON`. The defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    width: int = Field(default=64, ge=1, le=MAX_WIDTH, description="Width of a modality's vectors.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbors per item and modality.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph. Those not named share the rest.",
    )


class DRAGON(UserNeighborRecommender):
    """Dual representations of users and items by homogeneous graphs.

    Score: ``(x_u + S_U x_u) · (x_i + S_I x_i)``. Per modality, preferences and projected features
    are propagated over the interactions and all layers are summed; ``x`` joins the modalities side
    by side, a user's with weights of the user's own (attentive concatenation). ``S_U`` averages the
    users that share most items with a user, weighted by the softmax of how many they share. ``S_I``
    is the frozen kNN graph of `FREEDOM`. Vectors are ``n_modalities * width`` wide, for any number
    of modalities.

    Loss: ``BPR / ln 2 + reg * (mean squares of the batch's preferences and of all weights)``.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : DRAGONConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    DualGNN : Sums the modalities and has no item-item graph.
    FREEDOM : The item-item graph.
    MENTOR : The same item side, with self-supervised losses.

    Notes
    -----
    The authors' code decides where the paper leaves a choice: the base of the logarithm, the
    penalty, 40 user neighbors. Three points differ from that code:

    - It fills up the neighbors of a user who has fewer than 40 by drawing from them again each
      epoch. Here a user has only the neighbors that exist.
    - It scores with the vectors of the last training step. Here scores come from the present
      weights.
    - Among equally near users it keeps arbitrary ones. Here it is those with the lower positions.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = DRAGON(planted(200, 100), DRAGON.Config(k_users=10))
    >>> [table.space for table in model.user_tables()]
    ['projected', 'projected']
    """

    citation = (
        "Zhou et al., Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal "
        "Recommendation, ECAI 2023, https://arxiv.org/abs/2301.12097"
    )
    fixed_shapes = True

    config: DRAGONConfig

    def __init__(self, dataset: Dataset, config: DRAGONConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.item_graph = SparseGraph(
            build_frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )

    @override
    def _join(self, users: list[Tensor], items: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Join the modalities side by side and add the items' neighbors to the items."""
        joined = related = torch.cat(items, dim=1)
        for _ in range(self.config.n_item_layers):
            related = self.item_graph(related)
        return torch.cat(users, dim=1), joined + related
