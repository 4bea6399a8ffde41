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

from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.graphs import Sparse, SparseGraph, knn_graph
from sgurinit.models.blocks.two_views import TwoViewConfig, TwoViewRecommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class SMOREConfig(TwoViewConfig):
    """Settings of `SMORE`; defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "n_layers": (3, 4),
        "k": (10, 15, 20, 40),
        "modality_k": tuple({"image": k} for k in (10, 15, 20, 40)),
        "dropout": (0.0, 0.1),
        "contrast": (0.01, 0.03),
        "reg": (1e-5, 1e-4),
    }

    n_layers: int = Field(default=4, ge=1, le=8, description="Layers on the user-item graph.")
    k: int = Field(default=15, ge=1, description="Neighbours per item and modality.")
    modality_k: Mapping[str, Annotated[int, Field(ge=1)]] = Field(
        default={"image": 40}, description="Neighbours in modalities where they differ from `k`."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the preference gates' values left out."
    )


class SMORE(TwoViewRecommender):
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

    Filters are real tables ``(frequencies, 2)``.
    """

    citation = (
        "Ong and Khong, Spectrum-based Modality Representation Fusion Graph Convolutional Network "
        "for Multimodal Recommendation, WSDM 2025, https://arxiv.org/abs/2412.14978"
    )

    config: SMOREConfig

    def __init__(self, dataset: Dataset, config: SMOREConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
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

    def _item_matrices(self, dataset: Dataset) -> list[Sparse]:
        own = [
            knn_graph(features, self.config.modality_k.get(modality, self.config.k), weighted=True)
            for modality, features in dataset.features.items()
        ]
        return [*own, reduce(lambda one, other: one.maximum(other), own)]

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

    @override
    def _item_tables(self) -> list[Tensor]:
        """Gated and propagated tables, by modality and then fused."""
        tables = []
        for gate, graph in zip(self._spectrum_fusion(), self.item_graphs, strict=True):
            table = self.item_embedding * gate
            for _ in range(self.config.n_item_layers):
                table = graph(table)
            tables.append(table)
        return tables

    @override
    def _side(self, behaviour: Tensor, content: Tensor) -> Tensor:
        """Preference module."""
        fused = content[:, -1]
        weights = [query(fused).softmax(dim=1) for query in self.queries]
        weighted = [weight * content[:, m] for m, weight in enumerate(weights)]
        total = torch.zeros_like(fused)
        for prefer, table in zip(self.preferences, [*weighted, fused], strict=True):
            preference = prefer(behaviour).sigmoid()
            preference = functional.dropout(preference, self.config.dropout, self.training)
            total = total + preference * table
        return total / len(self.preferences)


def _filtered(rows: Tensor, weights: Tensor) -> Tensor:
    """Filter each of the `rows` by the adjoint of the filter with these complex `weights`.

    For rows a, b: ``filtered(a) · b = a · adjoint(b)``, and the adjoint has conjugate weights.
    """
    spectrum = torch.fft.rfft(rows, norm="ortho") * torch.view_as_complex(weights).conj()
    filtered: Tensor = torch.fft.irfft(spectrum, rows.shape[1], norm="ortho")
    return filtered
