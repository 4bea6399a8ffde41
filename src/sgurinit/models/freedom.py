"""FREEDOM: a frozen item-item graph and a denoised user-item graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

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
    new_embedding,
)
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.item_graph import build_frozen_item_graph
from sgurinit.models.blocks.losses import bpr_loss
from sgurinit.models.blocks.sampled_graph import SampledGraph
from sgurinit.models.blocks.sparse_graph import (
    SparseGraph,
    build_bipartite_graph,
    normalize_interactions,
    propagate_mean,
)

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class FREEDOMConfig(RecommenderConfig):
    """Settings of `FREEDOM`. The defaults are the paper's."""

    search_space: ClassVar[SearchSpace] = {
        "edge_dropout": (0.8, 0.9),
        "reg": (0.0, 1e-5, 1e-4, 1e-3),
    }

    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbors per item and modality.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph. Those not named share the rest.",
    )
    edge_dropout: float = Field(
        default=0.8, ge=0, lt=1, description="Share of interactions left out of an epoch's graph."
    )
    reg: float = Field(default=1e-4, ge=0, description="Weight of the modality losses, lambda.")


class FREEDOM(Recommender):
    """Freezing and denoising graph structures.

    Score: ``h_u · (h_i + S e_i)``, where h is LightGCN's layer mean and S the frozen item-item
    graph: unweighted, symmetrically normalized kNN graphs, one per modality, summed with fixed
    weights (section 3.1 of the paper). Each epoch trains on a sample of the interactions, drawn
    without replacement with probability proportional to ``1 / sqrt(d_u d_i)`` and normalized again;
    inference uses all of them (section 3.2).

    Loss: ``BPR(h_u, h_i + S e_i) + reg * sum_m BPR(h_u, W_m f_i^m)`` (section 3.3).

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : FREEDOMConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    LightGCN : The user-item part.
    LATTICE : Learns the item-item graph instead of freezing it.
    DRAGON : Adds a user-user graph.
    MENTOR : Uses the same item-item graph.

    Notes
    -----
    The paper has two modalities: 0.1 for the image graph, the rest for the text graph. With more
    modalities, the named weights stay as given and the others share the rest equally.

    As in the authors' code the projection is linear. Its bias is left out because it cancels in a
    pairwise loss. That code also trains the raw features. Here they are constants.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = FREEDOM(planted(200, 100), FREEDOM.Config(edge_dropout=0.9))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Zhou and Shen, A Tale of Two Graphs: Freezing and Denoising Graph Structures for "
        "Multimodal Recommendation, ACM MM 2023, https://arxiv.org/abs/2211.06924"
    )
    fixed_shapes = True

    config: FREEDOMConfig

    def __init__(self, dataset: Dataset, config: FREEDOMConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = new_embedding(self.n_users, width)
        self.item_embedding = new_embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ModuleList(
            nn.Linear(f.shape[1], width, bias=False) for f in self.features
        )
        self.item_graph = SparseGraph(
            build_frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )
        interactions = dataset.train_matrix()
        self.graph = build_bipartite_graph(interactions)
        self.epoch_graph: SparseGraph = self.graph
        if self.config.edge_dropout > 0:
            count = max(1, int(interactions.nnz * (1 - self.config.edge_dropout)))
            self.sampled_graph = SampledGraph(normalize_interactions(interactions), count)

    @override
    def begin_epoch(self, seed: int) -> None:
        if self.config.edge_dropout > 0:
            self.sampled_graph.draw_(seed)
            self.epoch_graph = self.sampled_graph

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        graph = self.epoch_graph if self.training else self.graph
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        nodes = propagate_mean(graph, nodes, self.config.n_layers)
        related = self.item_embedding
        for _ in range(self.config.n_item_layers):
            related = self.item_graph(related)
        return nodes[: self.n_users], nodes[self.n_users :] + related

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, items = self.embed()
        own = users[batch.users]
        loss = bpr_loss(own, items[batch.positives], items[batch.negatives])
        for project, features in zip(self.projections, self.features, strict=True):
            # The map is linear, so it can be applied to the difference of the items.
            difference = project(features[batch.positives] - features[batch.negatives])
            content = bpr_loss(own, difference, torch.zeros_like(difference))
            loss = loss + self.config.reg * content
        return loss

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
