"""MENTOR: modalities aligned with each other under the guidance of free vectors."""

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

from sgurinit.models.base import Batch, Recommender, RecommenderConfig, SearchSpace, UserTable
from sgurinit.models.blocks.branches import Branch, Branches, modality_weights
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.graphs import SparseGraph, bipartite
from sgurinit.models.blocks.item_graph import frozen_item_graph
from sgurinit.models.blocks.losses import COLDEST, bpr, info_nce

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MENTORConfig(RecommenderConfig):
    """Settings of `MENTOR`; defaults are those of the authors' code."""

    search_space: ClassVar[SearchSpace] = {
        "align": (0.1, 0.2, 0.3),
        "contrast": (1e-4, 1e-3),
        "temperature": (0.2, 0.4, 0.6),
    }

    width: int = Field(default=64, ge=1, description="Width of a modality's vectors.")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=2, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graph.")
    k: int = Field(default=10, ge=1, description="Neighbours per item and modality.")
    graph_weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={"image": 0.1},
        description="Share of a modality in the item-item graph; those not named share the rest.",
    )
    align: float = Field(default=0.1, ge=0, description="Weight of the cross-modal alignment.")
    contrast: float = Field(default=1e-4, ge=0, description="Weight of the contrastive task.")
    temperature: float = Field(default=0.2, ge=COLDEST, description="Of the contrastive task.")
    noise: float = Field(default=0.1, ge=0, description="Length of the noise added to a layer.")
    reg: float = Field(default=1e-3, ge=0, description="Weight of the L2 penalty.")


class MENTOR(Recommender):
    """Multi-level self-supervised learning.

    In each modality the users' preferences and the projected features, as unit vectors, are
    propagated over the interactions and all layers are summed. The modalities' vectors are joined
    side by side, a user's after multiplication with weights of its own, and to an item's its mean
    over the frozen kNN graph of `FREEDOM` is added. So vectors are ``n_modalities x width`` wide.

    Multilevel cross-modal alignment: free vectors of users and items take the same way as a
    modality does. Mean and variance over all entries of their table, of each modality's and of the
    joined one are brought together, every two of them, by absolute difference: for two modalities
    the six pairs of the four levels that the code names. General feature enhancement: two views of
    the joined vectors, whose layers are perturbed by noise of a fixed length and the layer's signs,
    as in SimGCL, are contrasted, users with users and items with items.

    The authors' code is followed: BPR with the logarithm to base 2, an L2 penalty as mean squares
    of the preferences of the batch's users and of all users' weights. Points that differ:

    - The code computes the loss for feature masking, the other half of the enhancement, without
      gradients, so it changes nothing; it is left out.
    - The code gives each perturbed view branches of its own, which scores never use, so that its
      contrast reaches them through the users' weights alone. Here the model's own branches are
      perturbed, and the contrast is among the batch's users and its positive items, as SimGCL's
      is, instead of among all.
    - The code's scores come from the last training step, here from the present weights.

    The names of the parts are the paper's as its abstract and the code give them. The code
    declares a graph of users, too, and never uses it.
    """

    citation = (
        "Xu et al., MENTOR: Multi-level Self-supervised Learning for Multimodal Recommendation, "
        "AAAI 2025, https://arxiv.org/abs/2402.19407"
    )

    config: MENTORConfig

    def __init__(self, dataset: Dataset, config: MENTORConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        features = Features(dataset)
        self.branches = Branches(self.n_users, features, width)
        self.modality_weights = modality_weights(self.n_users, len(features))
        self.item_embedding = nn.Parameter(nn.init.xavier_normal_(torch.empty(self.n_items, width)))
        self.guide = Branch(self.n_users, width, width)
        self.graph = bipartite(dataset.train_matrix())
        self.item_graph = SparseGraph(
            frozen_item_graph(dataset, self.config.k, self.config.graph_weights)
        )

    def _relate(self, items: Tensor) -> Tensor:
        """Add the related items' vectors."""
        related = items
        for _ in range(self.config.n_item_layers):
            related = self.item_graph(related)
        return items + related

    def _join(self, nodes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Users and items of all modalities side by side, from each one's summed layers."""
        weights = self.modality_weights.T
        users = [x[: self.n_users] * w[:, None] for x, w in zip(nodes, weights, strict=True)]
        items = torch.cat([x[self.n_users :] for x in nodes], dim=1)
        return torch.cat(users, dim=1), self._relate(items)

    def _layers(self, x: Tensor) -> list[Tensor]:
        """`x` and its propagations over the interactions."""
        layers = [x]
        for _ in range(self.config.n_layers):
            layers.append(self.graph(layers[-1]))
        return layers

    @torch.no_grad()
    def _noise(self, layers: list[Tensor]) -> Tensor:
        """What noise in every layer, propagated on, adds to the sum of the clean `layers`.

        Propagation is linear and neither the noise nor a sign has a gradient, so a perturbed view
        is the clean one plus this constant.
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
        """Distances of means and variances, for each two tables, from `_join`'s in- and output."""
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
        """Two perturbed views of the batch's users and items, each against its own kind."""
        user_rows, item_rows = batch.users.unique(), batch.positives.unique()
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
        for one, other in zip(*views, strict=True):
            once = torch.ones(len(one), device=one.device)
            total = total + info_nce(one, other, self.config.temperature, once)
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
        loss = bpr(*vectors) / math.log(2) + self.config.reg * penalty
        loss = loss + self.config.align * self._alignment(nodes, users, items)
        if self.config.contrast > 0:
            loss = loss + self.config.contrast * self._contrast(layers, nodes, items, batch)
        return loss

    @override
    def user_tables(self) -> list[UserTable]:
        # Not the guide's users: no items live in their space, so no start has a meaning there.
        return self.branches.user_tables("branches")


def _sum(layers: list[Tensor]) -> Tensor:
    return reduce(torch.add, layers)


def _moments(table: Tensor) -> Tensor:
    """Mean and variance over all entries, ``(2,)``."""
    entries = table.flatten()
    # Entries average near 0, so nothing is lost, and a product is far faster than `torch.var`.
    mean = entries.mean()
    return torch.stack([mean, entries.dot(entries) / len(entries) - mean.square()])
