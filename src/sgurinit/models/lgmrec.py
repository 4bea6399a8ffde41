"""LGMRec: local graph embeddings plus global hypergraph embeddings."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from sgurinit.core.params import MAX_WIDTH
from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    SearchSpace,
    UserTable,
    new_embedding,
)
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features, is_narrow
from sgurinit.models.blocks.losses import MIN_TEMPERATURE, bpr_loss, sum_logsumexp
from sgurinit.models.blocks.sparse_graph import SparseGraph, build_bipartite_graph, propagate_mean

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class LGMRecConfig(RecommenderConfig):
    """Settings of `LGMRec`. The defaults are the authors' for Amazon Baby."""

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
    n_hyperedges: int = Field(
        default=4, ge=1, le=MAX_WIDTH, description="Hyperedges per modality, A."
    )
    dropout: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Share of hyperedge dependencies dropped in a training step.",
    )
    global_weight: float = Field(
        default=0.3, ge=0, description="Weight of the hypergraph's vectors, alpha."
    )
    temperature: float = Field(
        default=0.2,
        ge=MIN_TEMPERATURE,
        description="Temperature of the hyperedge dependencies and of the contrastive task.",
    )
    contrast: float = Field(default=1e-4, ge=0, description="Weight of the contrastive task.")
    reg: float = Field(default=1e-6, ge=0, description="Weight of the penalty on vector norms.")


class LGMRec(Recommender):
    """Local and global graph learning.

    Score: ``x_u · x_i`` with ``x = collaborative + modality + global_weight * global``.

    Loss: ``BPR + contrast * InfoNCE + reg * norms``. InfoNCE contrasts hypergraph vectors between
    modalities. The norms, not squared, are those of the batch's final vectors over the batch size.

    The three parts, with the paper's names:

    - Collaborative graph embedding: the free vectors ``E``, propagated as in LightGCN.
    - Modality graph embedding: items are projected features ``F W``, users the mean of their items.
      Both are propagated `n_content_layers` times over the normalized interactions, and the last
      layer is used. The modalities' vectors are scaled to unit length and added.
    - Global hypergraph embedding: with raw interactions R, the hyperedge dependencies are
      ``H_I = F V`` for items and ``H_U = R F V`` for users, after a Gumbel softmax over the
      hyperedges and a dropout (one draw for all layers). Items pass their collaborative vectors to
      the hyperedges and back, ``E_I <- H_I H_I^T E_I``. Users read the last layer's hyperedges. The
      sum over the modalities is scaled to unit length.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : LGMRecConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    LightGCN : The collaborative part.
    MGCN : Contrasts modalities with the collaborative part.
    SMORE : Fuses modalities in the frequency domain.

    Notes
    -----
    Where the paper leaves a choice, the authors' code is followed: R is not normalized in the
    users' dependencies, and one temperature serves both softmaxes. The contrast goes one way: a
    node's vector of one modality against all nodes' vectors of the other, its own included, summed
    over the batch's users and positives.

    Different from the authors' code:

    - That code draws Gumbel noise in evaluation too, so its scores change from call to call. Here
      noise and dropout are only used in training.
    - The published figures come from a version with a slip: the first modality's users had the
      second's dependencies, and the second's users had none of the softmax. The authors have since
      corrected it. As in their correction, each modality here has its own.

    Any number of modalities works: sums run over all of them, and the contrast is the mean over the
    pairs, the earlier against the later in the data set's order (the authors' single pair is image
    against text). With one modality there is no contrast.

    The modality graph embedding is linear, ``A F W``. For narrow features, the table ``A F`` is
    computed once and a training step projects only the batch's rows of it. For wide features, whose
    table would take several times the memory of the features, it is computed as ``A (F W)``.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = LGMRec(planted(200, 100), LGMRec.Config(n_hyperedges=8))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Guo et al., LGMRec: Local and Global Graph Learning for Multimodal Recommendation, "
        "AAAI 2024, https://arxiv.org/abs/2312.16400"
    )
    fixed_shapes = True

    config: LGMRecConfig

    def __init__(self, dataset: Dataset, config: LGMRecConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = new_embedding(self.n_users, width)
        self.item_embedding = new_embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ParameterList(new_embedding(f.shape[1], width) for f in self.features)
        self.hyperedges = nn.ParameterList(
            new_embedding(f.shape[1], self.config.n_hyperedges) for f in self.features
        )
        interactions = dataset.train_matrix()
        self.graph = build_bipartite_graph(interactions)
        self.to_users = SparseGraph(interactions)
        degrees = np.maximum(interactions.sum(axis=1), 1).astype(np.float32)
        self.register_buffer("degrees", torch.from_numpy(degrees)[:, None], persistent=False)
        for position, table in enumerate(self.features):
            content = self._propagate_items(table) if is_narrow(table, width) else None
            self.register_buffer(f"content_{position}", content, persistent=False)

    def _behavior(self) -> Tensor:
        """Compute the collaborative graph embedding of all nodes, users first."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return propagate_mean(self.graph, nodes, self.config.n_layers)

    def _propagate_items(self, items: Tensor) -> Tensor:
        """Propagate from items to all nodes, users first, by the modality graph embedding."""
        nodes = torch.cat([self.to_users(items) / self.get_buffer("degrees"), items])
        for _ in range(self.config.n_content_layers):
            nodes = self.graph(nodes)
        return nodes

    def _content(self, rows: Tensor | slice) -> Tensor:
        """Compute the modality graph embedding of some nodes, a sum of unit vectors."""
        total = self.features[0].new_zeros(())
        for position, (features, weights) in enumerate(
            zip(self.features, self.projections, strict=True)
        ):
            table: Tensor | None = getattr(self, f"content_{position}")
            projected = (
                self._propagate_items(features @ weights)[rows]
                if table is None
                else table[rows] @ weights
            )
            total = total + functional.normalize(projected, dim=1)
        return total

    def _dependencies(self) -> Tensor:
        """Compute hyperedge dependencies, ``(n_users + n_items, modalities, hyperedges)``."""
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
        """Compute hyperedge vectors of the last layer, ``(modalities, hyperedges, width)``."""
        by_modality = dependencies.transpose(0, 1)
        messages = by_modality.mT @ items
        if self.config.n_hyper_layers > 1:
            again = by_modality.mT @ by_modality
            for _ in range(self.config.n_hyper_layers - 1):
                messages = again @ messages
        return messages

    def _global(self, dependencies: Tensor, messages: Tensor) -> Tensor:
        """Compute the weighted global hypergraph embedding of any rows, ``(rows, width)``."""
        overall = dependencies.flatten(1) @ messages.flatten(0, 1)
        return self.config.global_weight * functional.normalize(overall, dim=1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        behavior = self._behavior()
        dependencies = self._dependencies()
        messages = self._messages(behavior[self.n_users :], dependencies[self.n_users :])
        nodes = behavior + self._content(slice(None)) + self._global(dependencies, messages)
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, user_rows, user_counts = find_distinct(batch.users)
        items, item_rows, _ = find_distinct(torch.cat([batch.positives, batch.negatives]))
        positive_rows, negative_rows = item_rows.split(len(batch.users))
        nodes = torch.cat([users, self.n_users + items])

        behavior = self._behavior()
        dependencies = self._dependencies()
        messages = self._messages(behavior[self.n_users :], dependencies[self.n_users :])
        final = behavior[nodes] + self._content(nodes) + self._global(dependencies[nodes], messages)
        final_users, final_items = final.split([len(users), len(items)])
        vectors = final_users[user_rows], final_items[positive_rows], final_items[negative_rows]
        norms = sum((table.norm() for table in vectors), start=final.new_zeros(()))
        loss = bpr_loss(*vectors) + self.config.reg * norms / len(batch.users)

        if len(self.features) > 1:
            sides = dependencies.split([self.n_users, self.n_items])
            positives, _, counts = find_distinct(batch.positives)
            for side, rows, times in zip(
                sides, (users, positives), (user_counts, counts), strict=True
            ):
                loss = loss + self.config.contrast * self._contrast(side, messages, rows, times)
        return loss

    def _contrast(
        self, dependencies: Tensor, messages: Tensor, rows: Tensor, counts: Tensor
    ) -> Tensor:
        """Contrast some users (or items) with all of them between modalities."""
        pairs = list(combinations(range(len(self.features)), 2))
        total = dependencies.new_zeros(())
        for one, other in pairs:
            view, candidates = self._make_views(
                dependencies[rows, one], messages[one], dependencies[:, other], messages[other]
            )
            # Mixed precision can give the views two types, and bfloat16 is too coarse for sums.
            wide = torch.promote_types(view.dtype, torch.float32)
            view, candidates = view.to(wide), candidates.to(wide)
            own = (view * candidates[rows]).sum(dim=1)
            with torch.autocast(view.device.type, enabled=False):
                total = total + sum_logsumexp(view, candidates, counts) - (own * counts).sum()
        return total / len(pairs)

    def _make_views(
        self, one: Tensor, one_messages: Tensor, other: Tensor, other_messages: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Make two tables whose products are the cosines of two views over the temperature.

        Products of hypergraph vectors ``(h M) · (h' M')`` equal ``(h M M'^T) · h'``, which has as
        many columns as there are hyperedges.
        """
        view, candidates = one @ one_messages, other @ other_messages
        # A row whose dependencies were all dropped stays zero, as in `normalize`.
        scale = view.norm(dim=1, keepdim=True).clamp(min=1e-12) * self.config.temperature
        candidates_scale = candidates.norm(dim=1, keepdim=True).clamp(min=1e-12)
        if self.config.n_hyperedges < self.config.width:
            view, candidates = one @ (one_messages @ other_messages.T), other
        return view / scale, candidates / candidates_scale

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
