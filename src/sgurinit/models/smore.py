"""SMORE: modalities filtered and fused in the frequency domain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

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
from sgurinit.models.features import Features
from sgurinit.models.graphs import (
    Sparse,
    SparseGraph,
    bipartite,
    knn_graph,
    normalised,
    propagate_mean,
)
from sgurinit.models.losses import bpr, info_nce, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class SMOREConfig(RecommenderConfig):
    """Settings of `SMORE`; defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "n_layers": (3, 4),
        "k": (10, 15, 20, 40),
        "modality_k": tuple({"image": k} for k in (10, 15, 20, 40)),
        "dropout": (0.0, 0.1),
        "contrast": (0.01, 0.03),
        "reg": (1e-5, 1e-4),
    }

    learning_rate_decay: float = Field(default=0.96, gt=0, le=1, description="Per 50 epochs.")
    n_layers: int = Field(default=4, ge=1, le=8, description="Layers on the user-item graph.")
    n_item_layers: int = Field(default=1, ge=1, le=8, description="Layers on the item-item graphs.")
    k: int = Field(default=15, ge=1, description="Neighbours per item and modality.")
    modality_k: Mapping[str, Annotated[int, Field(ge=1)]] = Field(
        default={"image": 40}, description="Neighbours in modalities where they differ from `k`."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the preference gates' values left out."
    )
    contrast: float = Field(default=0.01, ge=0, description="Weight of the contrastive task.")
    temperature: float = Field(default=0.2, gt=0, description="Of the contrastive task.")
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty.")


class SMORE(Recommender):
    """Spectrum-based modality representation fusion graph convolutional network.

    - Spectrum modality fusion: each modality's features are projected to the model's width and
      Fourier transformed along it. A complex filter per modality denoises its spectrum; the
      elementwise product of all modalities' spectra, times a filter of its own, is the fused one.
      The inverse transforms gate the items' free vectors, one gated table per modality and one
      fused.
    - Multi-modal graph learning: each table travels over its frozen item-item graph, for a modality
      its weighted kNN graph, for the fused one the entrywise maximum of those, not normalised
      again, and from items to users over the normalised interactions. The free vectors travel over
      the user-item graph as in LightGCN (behaviour).
    - Modality-aware preference: a softmax over the fused vector's attention, along the width and
      not across modalities, weighs each modality's vector; gates computed from behaviour, with
      dropout, weigh these and the fused one. Their mean is the side vector, which is added to
      behaviour.

    Losses: BPR, an L2 penalty on the final vectors, and a contrastive task of side vectors against
    behaviour.

    The product and the maximum run over any number of modalities, and the mean over one more. One
    modality is fused with none: the fused table then has the same spectrum and graph as the
    modality's own, and a filter and a gate of its own.

    Transforms are orthonormal and the filters start from a normal distribution, as in the authors'
    code. Negative cosines, which there would make the graph's weights undefined, count as 0. That
    code also updates the raw features with the gradient and divides the last, smaller batch's L2
    penalty by the full batch size; here features are constants and the divisor is the batch's size.

    Filters are real tables ``(frequencies, 2)``. The preference module works row by row, so a
    training step runs it on the batch's users and items only.
    """

    citation = (
        "Ong and Khong, Spectrum-based Modality Representation Fusion Graph Convolutional Network "
        "for Multimodal Recommendation, WSDM 2025, https://arxiv.org/abs/2412.14978"
    )

    config: SMOREConfig

    def __init__(self, dataset: Dataset, config: SMOREConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = embedding(self.n_users, width)
        self.item_embedding = embedding(self.n_items, width)
        self.features = Features(dataset)
        self.projections = nn.ModuleList(nn.Linear(f.shape[1], width) for f in self.features)
        self.queries = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width, bias=False))
            for _ in self.features
        )
        # One per modality, and the last for the fused table.
        n_tables = len(self.features) + 1
        self.filters = nn.ParameterList(torch.randn(width // 2 + 1, 2) for _ in range(n_tables))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(n_tables))
        self.preferences = nn.ModuleList(nn.Linear(width, width) for _ in range(n_tables))
        self.item_graphs = nn.ModuleList(
            SparseGraph(matrix) for matrix in self._item_matrices(dataset)
        )
        self.graph = bipartite(dataset.train_matrix())
        self.to_users = SparseGraph(normalised(dataset.train_matrix()))

    def _item_matrices(self, dataset: Dataset) -> list[Sparse]:
        own = [
            knn_graph(features, self.config.modality_k.get(modality, self.config.k), weighted=True)
            for modality, features in dataset.features.items()
        ]
        return [*own, reduce(lambda one, other: one.maximum(other), own)]

    def _behaviour(self) -> Tensor:
        """User-item view: all nodes, users first, ``(n_users + n_items, width)``."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        return propagate_mean(self.graph, nodes, self.config.n_layers)

    def _spectrum_fusion(self) -> list[Tensor]:
        """Gates of the items' free vectors, by modality and then fused: ``(n_items, width)`` each.

        A filter is linear, so instead of all items' rows its adjoint filters the gate's weights.
        """
        rows = [
            project(features)
            for project, features in zip(self.projections, self.features, strict=True)
        ]
        fused = reduce(torch.mul, (torch.fft.rfft(table, norm="ortho") for table in rows))
        rows.append(torch.fft.irfft(fused, self.config.width, norm="ortho"))
        gates = (cast(nn.Linear, gate) for gate in self.gates)
        return [
            functional.linear(table, _filtered(gate.weight, weights), gate.bias).sigmoid()
            for table, gate, weights in zip(rows, gates, self.filters, strict=True)
        ]

    def _content(self, users: Tensor | slice, items: Tensor | slice) -> Tensor:
        """Item-item views of some nodes, users first: ``(nodes, tables, width)``."""
        tables = []
        for gate, graph in zip(self._spectrum_fusion(), self.item_graphs, strict=True):
            table = self.item_embedding * gate
            for _ in range(self.config.n_item_layers):
                table = graph(table)
            tables.append(table)
        joined = torch.cat(tables, dim=1)
        nodes = torch.cat([self.to_users(joined)[users], joined[items]])
        return nodes.view(len(nodes), len(tables), -1)

    def _side(self, behaviour: Tensor, content: Tensor) -> Tensor:
        """Preference module on any rows: ``(rows, width)``."""
        fused = content[:, -1]
        weights = [query(fused).softmax(dim=1) for query in self.queries]
        weighted = [weight * content[:, m] for m, weight in enumerate(weights)]
        total = torch.zeros_like(fused)
        for prefer, table in zip(self.preferences, [*weighted, fused], strict=True):
            preference = prefer(behaviour).sigmoid()
            preference = functional.dropout(preference, self.config.dropout, self.training)
            total = total + preference * table
        return total / len(self.preferences)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        behaviour = self._behaviour()
        nodes = behaviour + self._side(behaviour, self._content(slice(None), slice(None)))
        return nodes[: self.n_users], nodes[self.n_users :]

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, user_rows, user_counts = batch.users.unique(return_inverse=True, return_counts=True)
        items, item_rows = torch.cat([batch.positives, batch.negatives]).unique(return_inverse=True)
        positive_rows, negative_rows = item_rows.split(len(batch.users))
        nodes = torch.cat([users, self.n_users + items])
        behaviour = self._behaviour()[nodes]
        side = self._side(behaviour, self._content(users, items))
        final_users, final_items = (behaviour + side).split([len(users), len(items)])
        vectors = final_users[user_rows], final_items[positive_rows], final_items[negative_rows]

        rows, counts = positive_rows.unique(return_counts=True)
        rows = rows + len(users)
        contrast = info_nce(
            side[: len(users)], behaviour[: len(users)], self.config.temperature, user_counts
        ) + info_nce(side[rows], behaviour[rows], self.config.temperature, counts)
        return bpr(*vectors) + self.config.reg * l2(*vectors) + self.config.contrast * contrast

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "id", items=self.item_embedding)]


def _filtered(rows: Tensor, weights: Tensor) -> Tensor:
    """Filter each of the `rows` by the adjoint of the filter with these complex `weights`.

    For rows a, b: ``filtered(a) · b = a · adjoint(b)``, and the adjoint has conjugate weights.
    """
    spectrum = torch.fft.rfft(rows, norm="ortho") * torch.view_as_complex(weights).conj()
    filtered: Tensor = torch.fft.irfft(spectrum, rows.shape[1], norm="ortho")
    return filtered
