"""MGCN: multi-view graph convolution with purified modality features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.graphs import SparseGraph, knn_graph
from sgurinit.models.blocks.two_views import TwoViewConfig, TwoViewRecommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MGCNConfig(TwoViewConfig):
    """Settings of `MGCN`; defaults are the paper's and, for the decay, the authors' code's."""

    search_space: ClassVar[SearchSpace] = {"contrast": (0.001, 0.01, 0.1)}

    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")


class MGCN(TwoViewRecommender):
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
    """

    citation = (
        "Yu et al., Multi-View Graph Convolutional Network for Multimedia Recommendation, "
        "ACM MM 2023, https://arxiv.org/abs/2308.03588"
    )

    config: MGCNConfig

    def __init__(self, dataset: Dataset, config: MGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
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

    @override
    def _item_tables(self) -> list[Tensor]:
        """Purified and propagated item-item views."""
        tables = []
        for features, purify, graph in zip(
            self.features, self.purifiers, self.item_graphs, strict=True
        ):
            items = self.item_embedding * purify(features)
            for _ in range(self.config.n_item_layers):
                items = graph(items)
            tables.append(items)
        return tables

    @override
    def _side(self, behaviour: Tensor, content: Tensor) -> Tensor:
        """Behaviour-aware fuser."""
        attention = self.attention(content).softmax(dim=1)
        shared: Tensor = (attention * content).sum(dim=1)
        fused = shared
        for prefer, view in zip(self.preferences, content.unbind(dim=1), strict=True):
            fused = fused + prefer(behaviour) * (view - shared)
        return fused / (content.shape[1] + 1)
