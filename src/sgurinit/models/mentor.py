"""MENTOR: modalities that are aligned with each other, guided by free vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from sgurinit.core.params import MAX_WIDTH
from sgurinit.models.base import Batch, Recommender, RecommenderConfig, SearchSpace, UserTable
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.item_graph import build_frozen_item_graph
from sgurinit.models.blocks.losses import MIN_TEMPERATURE, bpr_loss, info_nce_loss
from sgurinit.models.blocks.modality_branches import Branch, Branches, new_modality_weights
from sgurinit.models.blocks.sparse_graph import SparseGraph, build_bipartite_graph

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MENTORConfig(RecommenderConfig):
    """Settings of `MENTOR`. The defaults are those of the authors' code."""

    search_space: ClassVar[SearchSpace] = {
        "align": (0.1, 0.2, 0.3),
        "contrast": (1e-4, 1e-3),
        "temperature": (0.2, 0.4, 0.6),
    }

    width: int = Field(default=64, ge=1, le=MAX_WIDTH, description="Width of a modality's vectors.")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbors per item and modality.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph. Those not named share the rest.",
    )
    align: float = Field(default=0.1, ge=0, description="Weight of the cross-modal alignment.")
    contrast: float = Field(default=1e-4, ge=0, description="Weight of the contrastive task.")
    temperature: float = Field(
        default=0.2, ge=MIN_TEMPERATURE, description="Temperature of the contrastive task."
    )
    noise: float = Field(default=0.1, ge=0, description="Length of the noise added to a layer.")
    reg: float = Field(default=1e-3, ge=0, description="Weight of the L2 penalty.")


class MENTOR(Recommender):
    """Multi-level self-supervised learning.

    Score: ``x_u · (x_i + S x_i)``. Per modality, preferences and projected features are propagated
    over the interactions and all layers are summed. ``x`` joins the modalities side by side, a
    user's with weights of the user's own. S is the frozen kNN graph of `FREEDOM`. Vectors are
    ``n_modalities * width`` wide.

    Loss: ``BPR / ln 2 + align * alignment + contrast * InfoNCE + reg * (mean squares of the batch's
    preferences and of all weights)``.

    - Multilevel cross-modal alignment. Free vectors of users and items take the same path as a
      modality (the guide). The mean and variance over all entries of the guide's table, of each
      modality's table and of the joined table are compared pairwise by absolute difference: for two
      modalities, the six pairs of the four levels that the code names.
    - General feature enhancement. Two views of the joined vectors are contrasted, users with users
      and items with items. Their layers are perturbed, as in SimGCL, by noise of a fixed length
      with the layer's signs.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : MENTORConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    DRAGON : The same score, with a user-user graph.
    FREEDOM : The item-item graph.
    BM3 : Aligns modalities with their items.

    Notes
    -----
    The authors' code is followed, including the base of the logarithm and the penalty. The parts
    are named as in the paper's abstract and the code. Three points differ from the code:

    - It computes the loss for feature masking, the other half of the enhancement, without
      gradients, so that loss changes nothing. It is left out here.
    - It gives each perturbed view separate branches, which scores never use. Its contrast
      therefore reaches the scores only through the users' weights. Here the model's own branches
      are perturbed, and the contrast is among the batch's users and its positive items, as in
      SimGCL, instead of among all.
    - Its scores come from the last training step, here from the present weights.

    The code also declares a graph of users that it never uses.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = MENTOR(planted(200, 100), MENTOR.Config(temperature=0.4))
    >>> [table.space for table in model.user_tables()]
    ['projected', 'projected']
    """

    citation = (
        "Xu et al., MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation, "
        "AAAI 2025, https://arxiv.org/abs/2402.19407"
    )
    fixed_shapes = True

    config: MENTORConfig

    def __init__(self, dataset: Dataset, config: MENTORConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        features = Features(dataset)
        self.branches = Branches(self.n_users, features, width)
        self.modality_weights = new_modality_weights(self.n_users, len(features))
        self.item_embedding = nn.Parameter(nn.init.xavier_normal_(torch.empty(self.n_items, width)))
        self.guide = Branch(self.n_users, width, width)
        self.graph = build_bipartite_graph(dataset.train_matrix())
        self.item_graph = SparseGraph(
            build_frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )

    def _relate(self, items: Tensor) -> Tensor:
        """Add the neighbors' vectors to the items."""
        related = items
        for _ in range(self.config.n_item_layers):
            related = self.item_graph(related)
        return items + related

    def _join(self, nodes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Join the modalities side by side, from each one's summed layers."""
        weights = self.modality_weights.T
        users = [x[: self.n_users] * w[:, None] for x, w in zip(nodes, weights, strict=True)]
        items = torch.cat([x[self.n_users :] for x in nodes], dim=1)
        return torch.cat(users, dim=1), self._relate(items)

    def _layers(self, x: Tensor) -> list[Tensor]:
        """Return `x` and its propagations over the interactions."""
        layers = [x]
        for _ in range(self.config.n_layers):
            layers.append(self.graph(layers[-1]))
        return layers

    @torch.no_grad()
    def _noise(self, layers: list[Tensor]) -> Tensor:
        """Draw noise for every layer and propagate it: what it adds to the sum of the `layers`.

        Propagation is linear and neither noise nor signs have a gradient, so a perturbed view is
        the clean view plus this constant.
        """
        carried = torch.zeros_like(layers[0])
        total = torch.zeros_like(layers[0])
        for depth, layer in enumerate(layers[1:]):
            if depth:
                carried = self.graph(carried)
            fresh = functional.normalize(torch.rand_like(layer))
            carried = carried + fresh.mul_((layer + carried).sign_()).mul_(self.config.noise)
            total += carried
        return total

    def _alignment(self, nodes: list[Tensor], users: Tensor, items: Tensor) -> Tensor:
        """Sum the distances of means and variances over all pairs of tables."""
        guide = _sum(self._layers(self.guide(self.item_embedding)))
        by_modality = items.split(self.config.width, dim=1)
        tables = [
            (users, items),
            (guide[: self.n_users], self._relate(guide[self.n_users :])),
            *((x[: self.n_users], i) for x, i in zip(nodes, by_modality, strict=True)),
        ]
        moments = [_moments(torch.cat(table)) for table in tables]
        return torch.stack([(a - b).abs().sum() for a, b in combinations(moments, 2)]).sum()

    def _contrast(
        self, layers: list[list[Tensor]], nodes: list[Tensor], items: Tensor, batch: Batch
    ) -> Tensor:
        """Contrast two perturbed views: users with users and items with items."""
        users_once, items_once = find_distinct(batch.users), find_distinct(batch.positives)
        user_rows, item_rows = users_once.nodes, items_once.nodes
        weights = self.modality_weights[user_rows].T
        views = []
        for _ in range(2):
            noise = [self._noise(of_modality) for of_modality in layers]
            users = [
                (x[user_rows] + n[user_rows]) * w[:, None]
                for x, n, w in zip(nodes, noise, weights, strict=True)
            ]
            with torch.no_grad():
                added = self._relate(torch.cat([n[self.n_users :] for n in noise], dim=1))
            views.append((torch.cat(users, dim=1), items[item_rows] + added[item_rows]))
        total = self.modality_weights.new_zeros(())
        for one, other, found in zip(*views, (users_once, items_once), strict=True):
            once = found.counts.clamp(max=1)
            total = total + info_nce_loss(one, other, self.config.temperature, once)
        return total

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        return self._join([_sum(self._layers(x)) for x in self.branches()])

    @override
    def loss(self, batch: Batch) -> Tensor:
        layers = [self._layers(x) for x in self.branches()]
        nodes = [_sum(of_modality) for of_modality in layers]
        users, items = self._join(nodes)
        vectors = users[batch.users], items[batch.positives], items[batch.negatives]
        penalty = self.branches.penalty(batch.users) + self.modality_weights.square().mean()
        loss = bpr_loss(*vectors) / math.log(2) + self.config.reg * penalty
        loss = loss + self.config.align * self._alignment(nodes, users, items)
        if self.config.contrast > 0:
            loss = loss + self.config.contrast * self._contrast(layers, nodes, items, batch)
        return loss

    @override
    def user_tables(self) -> list[UserTable]:
        # Without the guide's users: no items live in their space, so a start has no meaning there.
        return self.branches.user_tables("branches")


def _sum(layers: list[Tensor]) -> Tensor:
    return reduce(torch.add, layers)


def _moments(table: Tensor) -> Tensor:
    """Compute mean and variance over all entries, ``(2,)``."""
    entries = table.flatten()
    # The mean is near 0, so this formula loses no precision. It is far faster than `torch.var`.
    mean = entries.mean()
    return torch.stack([mean, entries.dot(entries) / len(entries) - mean.square()])
