"""LATTICE: an item-item graph learned from features during training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Self

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
    new_embedding,
)
from sgurinit.models.blocks._csr import Sparse
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.item_graph import build_knn_graph, find_nearest
from sgurinit.models.blocks.learned_graph import LearnedGraph
from sgurinit.models.blocks.losses import bpr_loss, l2_penalty
from sgurinit.models.blocks.sparse_graph import SparseGraph, propagate_mean

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class LATTICEConfig(RecommenderConfig):
    """Settings of `LATTICE`. The defaults are those of the authors' code."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-4, 5e-4, 1e-3, 5e-3),
        "reg": (0.0, 1e-5, 1e-4, 1e-3),
    }

    learning_rate: float = Field(default=5e-4, gt=0, description="Adam's step size.")
    learning_rate_decay: float = Field(
        default=0.96, gt=0, le=1, description="Factor on the step size per 50 epochs."
    )
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbors per item and modality.")
    skip: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Share of the initial graph; the learned graph has the rest.",
    )
    reg: float = Field(default=1e-5, ge=0, description="Weight of the L2 penalty.")


class LATTICE(Recommender):
    """Latent structure mining.

    Score: ``h_u · (h_i + S e_i / ||S e_i||)``, where h is LightGCN's layer mean, the collaborative
    part that the authors' code has as its default, and e are free vectors. The item-item graph is
    ``S = skip * initial + (1 - skip) * learned``. Both parts are sums over the modalities, with
    weights that are the softmax of one learned number each. Items are joined to their k nearest by
    cosine: in the raw features for the initial graph, which is constant, and in linear projections
    of them for the learned graph.

    Loss: ``BPR + reg * L2``, the penalty on the batch's final vectors.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : LATTICEConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    FREEDOM : Freezes the item-item graph.
    LightGCN : The user-item part.

    Notes
    -----
    As in the authors' code:

    - The learned graphs are summed first and then symmetrically normalized together. Each initial
      graph is normalized by itself.
    - The graph is rebuilt, with gradient, in the first batch of an epoch and held as a constant for
      the rest of it. So projections and modality weights take one step per epoch. (The torch of
      that time gave them gradients of zero in the other batches, in which Adam's momentum kept
      moving them.) Inference rebuilds the graph from the present weights.
    - The user-item graph is ``D^-1 (A + I)``, while LightGCN's is symmetric and has no self-loops.

    Different from the authors' code:

    - Negative cosines become 0 because a degree must not be negative. Among the nearest of many
      items there are none.
    - The raw features, which that code trains, are constants.
    - Items without features have no neighbors and are nobody's.

    Only the edges that are kept exist, and each has a gradient. Cosines are computed in blocks of
    rows to choose the edges, then again, differentiably, only for the k edges per item.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = LATTICE(planted(200, 100), LATTICE.Config(k=5))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Zhang et al., Mining Latent Structures for Multimedia Recommendation, ACM MM 2021, "
        "https://arxiv.org/abs/2104.09036"
    )
    fixed_shapes = True
    n_other_steps = 1  # the first step of an epoch rebuilds the graph

    config: LATTICEConfig

    def __init__(self, dataset: Dataset, config: LATTICEConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = new_embedding(self.n_users, width)
        self.item_embedding = new_embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ModuleList(nn.Linear(f.shape[1], width) for f in self.features)
        self.modality_logits = nn.Parameter(torch.full((len(self.features),), 0.5))
        self.graph = _build_random_walk(dataset.train_matrix())
        for position, features in enumerate(dataset.features.values()):
            initial = sp.coo_array(build_knn_graph(features, self.config.k, weighted=True))
            places = initial.row.astype(np.int64) * self.n_items + initial.col
            self.register_buffer(f"_places_{position}", torch.from_numpy(places), False)
            weights = initial.data.astype(np.float32)
            self.register_buffer(f"_weights_{position}", torch.from_numpy(weights), False)
            present = self.features[position].any(dim=1).nonzero().squeeze(1)
            self.register_buffer(f"_present_{position}", present, False)
        self._held: tuple[LearnedGraph, Tensor] | None = None
        self._is_held = False
        self._known: dict[int, tuple[Tensor, Tensor]] = {}
        self._chosen: dict[int, Tensor] = {}

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the model, as torch does, and forget what was computed before."""
        self._held, self._is_held = None, False
        self._known, self._chosen = {}, {}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @override
    def begin_epoch(self, seed: int) -> None:
        self._is_held = False
        # Chosen here, because a training step must not wait for the device to compare weights.
        with torch.no_grad():
            self._chosen = {
                position: self._find_neighbors(position) for position in range(len(self.features))
            }

    def _project(self, position: int) -> Tensor:
        """Project the items that have one modality to unit vectors."""
        present = self.features[position][self.get_buffer(f"_present_{position}")]
        return functional.normalize(self.projections[position](present), dim=1)

    def _learn_edges(self, position: int) -> tuple[Tensor, Tensor]:
        """Compute one modality's learned edges: places ``row * n_items + column``, and cosines."""
        items, unit = self.get_buffer(f"_present_{position}"), self._project(position)
        neighbors = self._chosen.pop(position, None) if self.training else None
        if neighbors is None:
            neighbors = self._find_neighbors(position, unit.detach())
        cosines = (unit[:, None] * functional.embedding(neighbors, unit)).sum(dim=2)
        places = items[:, None] * self.n_items + items[neighbors]
        return places.flatten(), cosines.flatten().clamp(min=0)

    def _find_neighbors(self, position: int, unit: Tensor | None = None) -> Tensor:
        """Find neighbors by one modality's vectors, or reuse them if the weights have not changed.

        The inference at the end of an epoch and the first batch of the next need the same ones.
        `unit` are the vectors, if they have been computed.
        """
        weights = nn.utils.parameters_to_vector(self.projections[position].parameters()).detach()
        known = self._known.get(position)
        if known is None or not known[0].equal(weights):
            unit = self._project(position) if unit is None else unit
            with torch.inference_mode(mode=False):  # a training step may use them, too
                known = weights, find_nearest(unit, self.config.k)[1]
            self._known[position] = known
        return known[1]

    def _build_item_graph(self) -> tuple[LearnedGraph, Tensor]:
        """Build the item-item graph from the present weights: its pattern and its entries."""
        n_modalities = len(self.features)
        shares = self.modality_logits.softmax(dim=0)
        learned = [self._learn_edges(position) for position in range(n_modalities)]
        initial = [
            (self.get_buffer(f"_places_{position}"), self.get_buffer(f"_weights_{position}"))
            for position in range(n_modalities)
        ]
        edges = learned + initial
        places, index, _ = find_distinct(torch.cat([p for p, _ in edges]))
        parts = index.split([len(p) for p, _ in edges])

        def combine(graphs: list[tuple[Tensor, Tensor]], parts: tuple[Tensor, ...]) -> Tensor:
            weights = torch.cat([share * w for share, (_, w) in zip(shares, graphs, strict=True)])
            return weights.new_zeros(len(places)).index_add(0, torch.cat(parts), weights)

        rows, columns = places // self.n_items, places % self.n_items
        combined = combine(learned, parts[:n_modalities])
        degrees = combined.new_zeros(self.n_items).index_add(0, rows, combined)
        roots = torch.where(degrees > 0, degrees, 1.0).rsqrt()
        skip = self.config.skip
        weights = (1 - skip) * combined * roots[rows] * roots[columns]
        weights = weights + skip * combine(initial, parts[n_modalities:])
        return LearnedGraph(rows, columns, (self.n_items, self.n_items)), weights

    def _item_graph(self) -> tuple[LearnedGraph, Tensor]:
        """Return the graph to use: rebuilt for inference and once per epoch, else the held one."""
        if self.training and self._is_held and self._held is not None:
            return self._held
        graph, weights = self._build_item_graph()
        if self.training:
            self._hold(graph, weights.detach())
        return graph, weights

    def _hold(self, graph: LearnedGraph, weights: Tensor) -> None:
        """Hold a graph for the rest of the epoch, in the tensors that a recorded step reads.

        With fixed shapes, all graphs have the same size.
        """
        if self._held is None or len(self._held[1]) != len(weights):
            self._held = graph, weights
        else:
            self._held[0].copy_(graph)
            self._held[1].copy_(weights)
        self._is_held = True

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
        return bpr_loss(*vectors) + self.config.reg * l2_penalty(*vectors)

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]


def _build_random_walk(interactions: Sparse) -> SparseGraph:
    """Build ``D^-1 (A + I)`` over users (first) and items: row-normalized, with self-loops."""
    block = sp.csr_array(interactions, dtype=np.float64)
    adjacency = sp.block_array([[None, block], [block.T, None]]) + sp.eye_array(sum(block.shape))
    return SparseGraph(sp.diags_array(1 / np.asarray(adjacency.sum(axis=1)).ravel()) @ adjacency)
