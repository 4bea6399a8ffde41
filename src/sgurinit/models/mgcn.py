"""MGCN: multi-view graph convolution with purified modality features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.item_graph import build_knn_graph
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.models.blocks.two_view_base import TwoViewConfig, TwoViewRecommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MGCNConfig(TwoViewConfig):
    """Settings of `MGCN`. Defaults are the paper's; the decay is that of the authors' code."""

    search_space: ClassVar[SearchSpace] = {"contrast": (0.001, 0.01, 0.1)}

    k: int = Field(default=10, ge=1, description="Neighbors per item and modality.")


class MGCN(TwoViewRecommender):
    """Multi-view graph convolutional network.

    Score: ``(b_u + m_u) · (b_i + m_i)``, behavior b plus fused modalities m.

    Loss: ``BPR + reg * L2 + contrast * InfoNCE(m, b)``, the penalty on the batch's final vectors.

    - User-item view. Behavior b are the free vectors, propagated as in LightGCN.
    - Item-item view. Modality features gate the items' free vectors (behavior-guided purifier).
      The result is propagated over each modality's frozen kNN graph and from items to users.
    - Behavior-aware fuser. Attention splits the modalities' vectors into a shared part and specific
      parts. The behavior vectors gate the specific parts. m is the mean of the parts.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : MGCNConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    SMORE : The same two views, fused in the frequency domain.
    LightGCN : The user-item view.
    LGMRec : Also contrasts views of the modalities.

    Notes
    -----
    Any number of modalities works: attention runs over all of them, and the mean has one part more
    than there are modalities. The authors' code, for two modalities, divides the sum by 3.

    That code also trains the raw features. Here they are constants.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = MGCN(planted(200, 100), MGCN.Config(k=5))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Yu et al., Multi-View Graph Convolutional Network for Multimedia Recommendation, "
        "ACM MM 2023, https://arxiv.org/abs/2308.03588"
    )
    fixed_shapes = True

    config: MGCNConfig

    def __init__(self, dataset: Dataset, config: MGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.item_graphs = nn.ModuleList(
            SparseGraph(build_knn_graph(features, self.config.k, weighted=True))
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
        """Compute the purified and propagated item-item views."""
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
    def _side(self, behavior: Tensor, content: Tensor) -> Tensor:
        """Fuse the modalities (behavior-aware fuser)."""
        attention = self.attention(content).softmax(dim=1)
        shared: Tensor = (attention * content).sum(dim=1)
        fused = shared
        for prefer, view in zip(self.preferences, content.unbind(dim=1), strict=True):
            fused = fused + prefer(behavior) * (view - shared)
        return fused / (content.shape[1] + 1)
