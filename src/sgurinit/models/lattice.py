"""LATTICE: an item-item graph mined from features while training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
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
    LearntGraph,
    Sparse,
    SparseGraph,
    knn_graph,
    nearest,
    propagate_mean,
)
from sgurinit.models.blocks.losses import bpr, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class LATTICEConfig(RecommenderConfig):
    """Settings of `LATTICE`; defaults are the authors' code's."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-4, 5e-4, 1e-3, 5e-3),
        "reg": (0.0, 1e-5, 1e-4, 1e-3),
    }

    learning_rate: float = Field(default=5e-4, gt=0, description="Adam's step size.")
    learning_rate_decay: float = Field(default=0.96, gt=0, le=1, description="Per 50 epochs.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")
    skip: float = Field(
        default=0.9, ge=0, le=1, description="Share of the initial graph beside the learnt one."
    )
    reg: float = Field(default=1e-5, ge=0, description="Weight of the L2 penalty.")


class LATTICE(Recommender):
    """Latent structure mining for multimodal recommendation.

    *Modality-aware structure learning*: per modality, items are joined to their k nearest by
    cosine, once in the raw features (the initial graph, a constant) and once in learnt linear
    projections of them (the learnt graph). The graphs of the modalities are summed with weights
    that are the softmax of one learnt number each, and the initial one has the share lambda
    (`skip`, the skip connection) in the mixture of the two. *Graph convolution*: items' free
    vectors travel over that graph; the result, at unit length, is added to the item vectors of
    LightGCN, the collaborative part that the authors' code has as its default. Loss: BPR and an L2
    penalty on the final vectors.

    As in the authors' code: the learnt graphs are summed first and then symmetrically normalised
    together, each initial graph is normalised by itself; the graph is rebuilt, with gradient, in
    the first batch of an epoch and held, as a constant, for the rest of it, so projections and
    modality weights take one step an epoch (the torch of that code's time gave them zeros for the
    other batches, in which Adam's momentum moved them on); inference rebuilds it from the present
    weights; the user-item graph is ``D^-1 (A + I)``, neither symmetric nor without self-loops as
    LightGCN's is. Other than there, negative cosines become 0, since a degree must not be negative
    (among the nearest of many items there are none), and the raw features, which that code trains
    as well, are constants; items without any have no neighbours and are nobody's.

    Only the kept edges of the learnt graph exist, with a gradient for each: cosines are computed in
    blocks of rows to choose them, then again, differentiably, for those k per item alone.
    """

    citation = (
        "Zhang et al., Mining Latent Structures for Multimedia Recommendation, ACM MM 2021, "
        "https://arxiv.org/abs/2104.09036"
    )

    config: LATTICEConfig

    def __init__(self, dataset: Dataset, config: LATTICEConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = embedding(self.n_users, width)
        self.item_embedding = embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ModuleList(nn.Linear(f.shape[1], width) for f in self.features)
        self.modality_logits = nn.Parameter(torch.full((len(self.features),), 0.5))
        self.graph = _random_walk(dataset.train_matrix())
        for position, features in enumerate(dataset.features.values()):
            initial = sp.coo_array(knn_graph(features, self.config.k, weighted=True))
            places = initial.row.astype(np.int64) * self.n_items + initial.col
            self.register_buffer(f"_places_{position}", torch.from_numpy(places), False)
            weights = initial.data.astype(np.float32)
            self.register_buffer(f"_weights_{position}", torch.from_numpy(weights), False)
        self._held: tuple[LearntGraph, Tensor] | None = None
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    @override
    def start_epoch(self, seed: int) -> None:
        self._held = None

    def _learnt(self, position: int) -> tuple[Tensor, Tensor]:
        """Edges of one modality's learnt graph: places ``row * n_items + column``, and cosines."""
        features = self.features[position]
        items = features.any(dim=1).nonzero().squeeze(1)
        unit = functional.normalize(self.projections[position](features[items]), dim=1)
        neighbours = self._nearest(position, unit.detach())
        cosines = (unit[:, None] * functional.embedding(neighbours, unit)).sum(dim=2)
        places = items[:, None] * self.n_items + items[neighbours]
        return places.flatten(), cosines.flatten().clamp(min=0)

    def _nearest(self, position: int, unit: Tensor) -> Tensor:
        """Neighbours by one modality's vectors, found anew only where these have changed.

        The inference that ends an epoch and the first batch of the next one ask for the same.
        """
        known = self._known.get(position)
        if known is None or known[0].device != unit.device or not torch.equal(known[0], unit):
            known = unit, nearest(unit, self.config.k)[1]
            self._known[position] = known
        return known[1]

    def _mine(self) -> tuple[LearntGraph, Tensor]:
        """The item-item graph at the present weights: its pattern and its entries."""
        n_modalities = len(self.features)
        shares = self.modality_logits.softmax(dim=0)
        learnt = [self._learnt(position) for position in range(n_modalities)]
        initial = [
            (self.get_buffer(f"_places_{position}"), self.get_buffer(f"_weights_{position}"))
            for position in range(n_modalities)
        ]
        edges = learnt + initial
        places, index = torch.cat([p for p, _ in edges]).unique(return_inverse=True)
        parts = index.split([len(p) for p, _ in edges])

        def combine(graphs: list[tuple[Tensor, Tensor]], parts: tuple[Tensor, ...]) -> Tensor:
            weights = torch.cat([share * w for share, (_, w) in zip(shares, graphs, strict=True)])
            return weights.new_zeros(len(places)).index_add(0, torch.cat(parts), weights)

        rows, columns = places // self.n_items, places % self.n_items
        combined = combine(learnt, parts[:n_modalities])
        degrees = combined.new_zeros(self.n_items).index_add(0, rows, combined)
        roots = torch.where(degrees > 0, degrees, 1.0).rsqrt()
        skip = self.config.skip
        weights = (1 - skip) * combined * roots[rows] * roots[columns]
        weights = weights + skip * combine(initial, parts[n_modalities:])
        graph = LearntGraph(rows.cpu().numpy(), columns.cpu().numpy(), (self.n_items, self.n_items))
        return graph.to(weights.device), weights

    def _item_graph(self) -> tuple[LearntGraph, Tensor]:
        """The graph to use now: rebuilt for inference and once an epoch, else held."""
        if self.training and self._held is not None:
            return self._held
        graph, weights = self._mine()
        if self.training:
            self._held = graph, weights.detach()
        return graph, weights

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        graph, weights = self._item_graph()
        related: Tensor = self.item_embedding
        for _ in range(self.config.n_item_layers):
            related = graph(weights, related)
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        nodes = propagate_mean(self.graph, nodes, self.config.n_layers)
        return nodes[: self.n_users], nodes[self.n_users :] + functional.normalize(related, dim=1)

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, items = self.embed()
        vectors = users[batch.users], items[batch.positives], items[batch.negatives]
        return bpr(*vectors) + self.config.reg * l2(*vectors)

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]


def _random_walk(interactions: Sparse) -> SparseGraph:
    """Users (first) and items with self-loops, rows divided by their sums: ``D^-1 (A + I)``."""
    block = sp.csr_array(interactions, dtype=np.float64)
    adjacency = sp.block_array([[None, block], [block.T, None]]) + sp.eye_array(sum(block.shape))
    return SparseGraph(sp.diags_array(1 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency)
