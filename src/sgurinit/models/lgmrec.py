"""LGMRec: local graph embeddings joined with global hypergraph embeddings."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import numpy as np
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
from sgurinit.models.blocks.contrast import log_sums
from sgurinit.models.blocks.features import Features, is_narrow
from sgurinit.models.blocks.graphs import SparseGraph, bipartite, propagate_mean
from sgurinit.models.blocks.losses import COLDEST, bpr

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class LGMRecConfig(RecommenderConfig):
    """Settings of `LGMRec`; defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "n_hyper_layers": (1, 2),
        "n_hyperedges": (2, 4, 8, 16, 32, 64, 128, 256),
        "dropout": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        "global_weight": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        "contrast": (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1),
        "reg": (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1),
    }

    n_layers: int = Field(default=2, ge=1, le=8, description="Layers of the free vectors, L.")
    n_content_layers: int = Field(
        default=2, ge=1, le=8, description="Layers of the modalities' vectors, K."
    )
    n_hyper_layers: int = Field(default=1, ge=1, le=8, description="Layers on the hypergraphs, H.")
    n_hyperedges: int = Field(default=4, ge=1, description="Hyperedges per modality, A.")
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Share of hyperedge dependencies left out of a step."
    )
    global_weight: float = Field(
        default=0.3, ge=0, description="Weight of the hypergraph's vectors, alpha."
    )
    temperature: float = Field(
        default=0.2,
        ge=COLDEST,
        description="Of the hyperedge dependencies and of the contrastive task.",
    )
    contrast: float = Field(default=1e-4, ge=0, description="Weight of the contrastive task.")
    reg: float = Field(default=1e-6, ge=0, description="Weight of the penalty on vector norms.")


class LGMRec(Recommender):
    """Local and global graph learning.

    A node's vector is the sum of three parts, in the paper's names:

    - collaborative graph embedding: the free vectors ``E`` as in LightGCN;
    - modality graph embedding: items start from projected features ``F W``, users from the mean
      of their items', both travel ``n_content_layers`` over the normalised interactions, of which
      the last is taken, and each modality's vectors are scaled to unit length and added;
    - global hypergraph embedding: hyperedge dependencies are ``H_I = F V`` for items and, with raw
      interactions R, ``H_U = R F V`` for users, through a Gumbel softmax over the hyperedges and a
      dropout (one draw for all layers). Items pass their collaborative vectors to the hyperedges
      and back, ``E_I <- H_I H_I^T E_I``, users read the last layer's hyperedges; the modalities'
      results are added, scaled to unit length and weighted by alpha.

    The loss is BPR, the contrast of hypergraph vectors between modalities, and the norms (not
    squared) of the batch's final vectors over the batch size. The contrast goes one way: a node's
    vector of one modality against all nodes' of the other, its own among them, summed over the
    batch's users and positives.

    Where the paper's symbols leave it open this follows the authors' code: R is not normalised in
    the users' dependencies, one temperature serves both softmaxes, both penalties are as above.
    That code draws Gumbel noise in evaluation too, so that its scores change from call to call;
    here noise and dropout belong to training alone. The published figures came from a version in
    which the first modality's users had the second's dependencies and the second's had none of
    the softmax; as corrected by its authors since, and here, each has its own.

    The modality graph embedding is linear, ``A F W``, so for narrow features the table ``A F`` is
    made once and a training step projects the batch's rows of it. For wide ones, whose table would
    take several times the features' room, it is ``A (F W)``.

    Any number of modalities: sums run over all; the contrast is the mean over pairs, the earlier
    against the later in the data set's order (the authors' one pair is image against text). One
    modality leaves nothing to contrast.
    """

    citation = (
        "Guo et al., LGMRec: Local and Global Graph Learning for Multimodal Recommendation, "
        "AAAI 2024, https://arxiv.org/abs/2312.16400"
    )

    config: LGMRecConfig

    def __init__(self, dataset: Dataset, config: LGMRecConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = embedding(self.n_users, width)
        self.item_embedding = embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ParameterList(embedding(f.shape[1], width) for f in self.features)
        self.hyperedges = nn.ParameterList(
            embedding(f.shape[1], self.config.n_hyperedges) for f in self.features
        )
        interactions = dataset.train_matrix()
        self.graph = bipartite(interactions)
        self.to_users = SparseGraph(interactions)
        degrees = np.maximum(interactions.sum(axis=1), 1).astype(np.float32)
        self.register_buffer("degrees", torch.from_numpy(degrees)[:, None], persistent=False)
        for position, table in enumerate(self.features):
            content = self._travel(table) if is_narrow(table, width) else None
            self.register_buffer(f"content_{position}", content, persistent=False)

    def _behaviour(self) -> Tensor:
        """Collaborative graph embedding of all nodes, users first."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return propagate_mean(self.graph, nodes, self.config.n_layers)

    def _travel(self, items: Tensor) -> Tensor:
        """From items to all nodes, users first, by the modality graph embedding's layers."""
        nodes = torch.cat([self.to_users(items) / self.get_buffer("degrees"), items])
        for _ in range(self.config.n_content_layers):
            nodes = self.graph(nodes)
        return nodes

    def _content(self, rows: Tensor | slice) -> Tensor:
        """Modality graph embedding of some nodes, unit vectors added up: ``(rows, width)``."""
        total = torch.zeros(())
        for position, (features, weights) in enumerate(
            zip(self.features, self.projections, strict=True)
        ):
            table: Tensor | None = getattr(self, f"content_{position}")
            projected = (
                self._travel(features @ weights)[rows] if table is None else table[rows] @ weights
            )
            total = total + functional.normalize(projected, dim=1)
        return total

    def _dependencies(self) -> Tensor:
        """Hyperedge dependencies of all nodes, ``(n_users + n_items, modalities, hyperedges)``."""
        items = torch.cat(
            [table @ edges for table, edges in zip(self.features, self.hyperedges, strict=True)],
            dim=1,
        )
        logits = torch.cat([self.to_users(items), items]).unflatten(1, (len(self.features), -1))
        if self.training:
            logits = logits - torch.empty_like(logits).exponential_().log()
        dependencies = (logits / self.config.temperature).softmax(dim=2)
        return functional.dropout(dependencies, self.config.dropout, self.training)

    def _messages(self, items: Tensor, dependencies: Tensor) -> Tensor:
        """Hyperedges' vectors at the last layer, ``(modalities, hyperedges, width)``."""
        by_modality = dependencies.transpose(0, 1)
        messages = by_modality.mT @ items
        if self.config.n_hyper_layers > 1:
            again = by_modality.mT @ by_modality
            for _ in range(self.config.n_hyper_layers - 1):
                messages = again @ messages
        return messages

    def _global(self, dependencies: Tensor, messages: Tensor) -> Tensor:
        """Global hypergraph embedding of any rows, weighted: ``(rows, width)``."""
        overall = dependencies.flatten(1) @ messages.flatten(0, 1)
        return self.config.global_weight * functional.normalize(overall, dim=1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        behaviour = self._behaviour()
        dependencies = self._dependencies()
        messages = self._messages(behaviour[self.n_users :], dependencies[self.n_users :])
        nodes = behaviour + self._content(slice(None)) + self._global(dependencies, messages)
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, user_rows, user_counts = batch.users.unique(return_inverse=True, return_counts=True)
        items, item_rows = torch.cat([batch.positives, batch.negatives]).unique(return_inverse=True)
        positive_rows, negative_rows = item_rows.split(len(batch.users))
        nodes = torch.cat([users, self.n_users + items])

        behaviour = self._behaviour()
        dependencies = self._dependencies()
        messages = self._messages(behaviour[self.n_users :], dependencies[self.n_users :])
        final = (
            behaviour[nodes] + self._content(nodes) + self._global(dependencies[nodes], messages)
        )
        final_users, final_items = final.split([len(users), len(items)])
        vectors = final_users[user_rows], final_items[positive_rows], final_items[negative_rows]
        norms = sum((table.norm() for table in vectors), start=final.new_zeros(()))
        loss = bpr(*vectors) + self.config.reg * norms / len(batch.users)

        if len(self.features) > 1:
            sides = dependencies.split([self.n_users, self.n_items])
            positives, counts = batch.positives.unique(return_counts=True)
            for side, rows, times in zip(
                sides, (users, positives), (user_counts, counts), strict=True
            ):
                loss = loss + self.config.contrast * self._contrast(side, messages, rows, times)
        return loss

    def _contrast(
        self, dependencies: Tensor, messages: Tensor, rows: Tensor, counts: Tensor
    ) -> Tensor:
        """Contrast between modalities of some of the users, or items, with all of them."""
        pairs = list(combinations(range(len(self.features)), 2))
        total = dependencies.new_zeros(())
        for one, other in pairs:
            view, candidates = self._views(
                dependencies[rows, one], messages[one], dependencies[:, other], messages[other]
            )
            own = (view * candidates[rows]).sum(dim=1)
            total = total + log_sums(view, candidates, counts) - (own * counts).sum()
        return total / len(pairs)

    def _views(
        self, one: Tensor, one_messages: Tensor, other: Tensor, other_messages: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two tables whose products are the cosines of two views, over the temperature.

        Products of hypergraph vectors ``(h M)·(h' M')`` equal ``(h M M'^T)·h'``, which is as wide
        as there are hyperedges.
        """
        view, candidates = one @ one_messages, other @ other_messages
        # A zero row, all of whose dependencies were dropped, stays zero, as in `normalize`.
        scale = view.norm(dim=1, keepdim=True).clamp(min=1e-12) * self.config.temperature
        candidates_scale = candidates.norm(dim=1, keepdim=True).clamp(min=1e-12)
        if self.config.n_hyperedges < self.config.width:
            view, candidates = one @ (one_messages @ other_messages.T), other
        return view / scale, candidates / candidates_scale

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
