"""FREEDOM: a frozen item-item graph and a denoised user-item graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import scipy.sparse as sp
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
    embedding,
)
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.graphs import (
    SparseGraph,
    bipartite,
    normalised,
    propagate_mean,
)
from sgurinit.models.blocks.item_graph import frozen_item_graph
from sgurinit.models.blocks.losses import bpr

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class FREEDOMConfig(RecommenderConfig):
    """Settings of `FREEDOM`; defaults are the paper's."""

    search_space: ClassVar[SearchSpace] = {
        "edge_dropout": (0.8, 0.9),
        "reg": (0.0, 1e-5, 1e-4, 1e-3),
    }

    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph; those not named share the rest.",
    )
    edge_dropout: float = Field(
        default=0.8, ge=0, lt=1, description="Share of interactions left out of an epoch's graph."
    )
    reg: float = Field(default=1e-4, ge=0, description="Weight of the modality losses, lambda.")


class FREEDOM(Recommender):
    """Freezing and denoising graphs.

    The item-item graph is made of unweighted, symmetrically normalised kNN graphs, one per
    modality, summed with fixed weights and never learnt (section 3.1, "constructing frozen
    item-item graph"). Each epoch trains on a sample of the interactions drawn without replacement
    with probability proportional to ``1 / sqrt(d_u d_i)``, renormalised, while inference uses all
    of them (section 3.2, "denoising user-item bipartite graph"). An item's vector is the sum of
    both graphs' results. The loss adds, weighted by lambda, a BPR term per modality between the
    users and the projected features (section 3.3).

    With more than two modalities the graph weights of the paper's two (0.1 for the image, the rest
    for the other) generalise to: named weights as given, the rest shared equally. As in the
    authors' code the projection is linear, here without the bias, which cancels in a pairwise
    loss. That code also updates the raw features with the gradient; here they are constants.
    """

    citation = (
        "Zhou and Shen, A Tale of Two Graphs: Freezing and Denoising Graph Structures for "
        "Multimodal Recommendation, ACM MM 2023, https://arxiv.org/abs/2211.06924"
    )

    config: FREEDOMConfig

    def __init__(self, dataset: Dataset, config: FREEDOMConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = embedding(self.n_users, width)
        self.item_embedding = embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ModuleList(
            nn.Linear(f.shape[1], width, bias=False) for f in self.features
        )
        self.item_graph = SparseGraph(
            frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )
        self.graph = bipartite(dataset.train_matrix())
        self.epoch_graph = self.graph
        self._edges = sp.coo_array(normalised(dataset.train_matrix()))

    @override
    def start_epoch(self, seed: int) -> None:
        if self.config.edge_dropout == 0:
            return
        edges = self._edges
        count = max(1, int(edges.nnz * (1 - self.config.edge_dropout)))
        kept = sample_edges(edges.data, count, np.random.default_rng(seed))
        sample = sp.coo_array(
            (np.ones(len(kept), np.float32), (edges.row[kept], edges.col[kept])), shape=edges.shape
        )
        self.epoch_graph = bipartite(sample).to(self.user_embedding.device)

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
        wanted = users[batch.users]
        loss = bpr(wanted, items[batch.positives], items[batch.negatives])
        for project, features in zip(self.projections, self.features, strict=True):
            # The map is linear: that of the items' difference is the difference of their maps.
            difference = project(features[batch.positives] - features[batch.negatives])
            content = bpr(wanted, difference, torch.zeros_like(difference))
            loss = loss + self.config.reg * content
        return loss

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]


def sample_edges(
    weights: np.ndarray[tuple[int], np.dtype[np.floating]], count: int, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Draw `count` >= 1 edges without replacement, each in proportion to the weights left.

    The `count` smallest of independent exponential variables with these rates are such a draw
    (Efraimidis and Spirakis 2006), so one vectorised pass does it for any number of edges.
    """
    arrival = rng.exponential(size=len(weights)) / weights
    return np.argpartition(arrival, count - 1)[:count]
