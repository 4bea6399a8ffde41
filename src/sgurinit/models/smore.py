"""SMORE: modalities that are filtered and fused in the frequency domain."""

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
from sgurinit.models.blocks._csr import Sparse
from sgurinit.models.blocks.item_graph import build_knn_graph
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.models.blocks.two_view_base import TwoViewConfig, TwoViewRecommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class SMOREConfig(TwoViewConfig):
    """Settings of `SMORE`. The defaults are the authors' for Amazon Baby."""

    search_space: ClassVar[SearchSpace] = {
        "n_layers": (3, 4),
        "k": (10, 15, 20, 40),
        "modality_k": tuple({"image": k} for k in (10, 15, 20, 40)),
        "dropout": (0.0, 0.1),
        "contrast": (0.01, 0.03),
        "reg": (1e-5, 1e-4),
    }

    n_layers: int = Field(default=4, ge=1, le=8, description="Layers on the user-item graph.")
    k: int = Field(default=15, ge=1, description="Neighbors per item and modality.")
    modality_k: Mapping[str, Annotated[int, Field(ge=1)]] = Field(
        default={"image": 40},
        description="Neighbors per item in the named modalities, instead of `k`.",
    )
    dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the preference gates' values dropped in training.",
    )


class SMORE(TwoViewRecommender):
    """Spectrum-based modality representation fusion graph convolutional network.

    Score: ``(b_u + m_u) · (b_i + m_i)``, behavior b plus the side view m of the modalities.

    Loss: ``BPR + reg * L2 + contrast * InfoNCE(m, b)``, the penalty on the batch's final vectors.

    - Spectrum modality fusion. Each modality's features are projected to the model's width and
      Fourier transformed along it. A complex filter per modality denoises its spectrum. The
      elementwise product of all spectra, times another filter, is the fused spectrum. The
      inverse transforms gate the items' free vectors: one table per modality and a fused one.
    - Multi-modal graph learning. Each table is propagated over its frozen item-item graph and from
      items to users over the normalized interactions. A modality's graph is its weighted kNN graph,
      the fused one the entrywise maximum of those, not normalized again. The free vectors are
      propagated over the user-item graph as in LightGCN (behavior b).
    - Modality-aware preference. The fused vector's attention, a softmax along the width and not
      across modalities, weighs each modality's vector. Gates computed from behavior, with dropout,
      weigh these and the fused vector. Their mean is m.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : SMOREConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    MGCN : The same two views without Fourier transforms.
    LightGCN : The behavior view.

    Notes
    -----
    Product and maximum run over any number of modalities, and the mean over one more. With a single
    modality, the fused table has the same spectrum and graph as the modality's own, but its own
    filter and gate.

    As in the authors' code, transforms are orthonormal and the filters are drawn from a normal
    distribution. Filters are stored as real tables ``(frequencies, 2)``.

    Different from the authors' code:

    - Negative cosines, which would make the graph's weights undefined there, count as 0.
    - That code also trains the raw features. Here they are constants.
    - That code divides the L2 penalty of the last, smaller batch by the full batch size. Here the
      divisor is the batch's own size.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = SMORE(planted(200, 100), SMORE.Config(n_layers=3))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Ong and Khong, Spectrum-based Modality Representation Fusion Graph Convolutional Network "
        "for Multimodal Recommendation, WSDM 2025, https://arxiv.org/abs/2412.14978"
    )
    fixed_shapes = True

    config: SMOREConfig

    def __init__(self, dataset: Dataset, config: SMOREConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.projections = nn.ModuleList(nn.Linear(f.shape[1], width) for f in self.features)
        self.queries = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width, bias=False))
            for _ in self.features
        )
        # One per modality, and the last one for the fused table.
        n_tables = len(self.features) + 1
        self.filters = nn.ParameterList(torch.randn(width // 2 + 1, 2) for _ in range(n_tables))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(n_tables))
        self.preferences = nn.ModuleList(nn.Linear(width, width) for _ in range(n_tables))
        self.item_graphs = nn.ModuleList(
            SparseGraph(matrix) for matrix in self._item_matrices(dataset)
        )

    def _item_matrices(self, dataset: Dataset) -> list[Sparse]:
        own = [
            build_knn_graph(
                features, self.config.modality_k.get(modality, self.config.k), weighted=True
            )
            for modality, features in dataset.features.items()
        ]
        return [*own, reduce(lambda one, other: one.maximum(other), own)]

    def _spectrum_fusion(self) -> list[Tensor]:
        """Compute the gates of the items' free vectors, one per modality and a fused one.

        Each is ``(n_items, width)``. A filter is linear, so instead of filtering all items' rows,
        its adjoint filters the gate's weights.
        """
        projected = (
            project(features)
            for project, features in zip(self.projections, self.features, strict=True)
        )
        # Mixed precision projects to bfloat16, for which CUDA devices have no transforms.
        rows = [t.to(torch.promote_types(t.dtype, torch.float32)) for t in projected]
        fused = reduce(torch.mul, (torch.fft.rfft(table, norm="ortho") for table in rows))
        rows.append(torch.fft.irfft(fused, self.config.width, norm="ortho"))
        gates = (cast(nn.Linear, gate) for gate in self.gates)
        return [
            functional.linear(table, _filter_adjoint(gate.weight, weights), gate.bias).sigmoid()
            for table, gate, weights in zip(rows, gates, self.filters, strict=True)
        ]

    @override
    def _item_tables(self) -> list[Tensor]:
        """Compute the gated and propagated tables: one per modality, then the fused one."""
        tables = []
        for gate, graph in zip(self._spectrum_fusion(), self.item_graphs, strict=True):
            table = self.item_embedding * gate
            for _ in range(self.config.n_item_layers):
                table = graph(table)
            tables.append(table)
        return tables

    @override
    def _side(self, behavior: Tensor, content: Tensor) -> Tensor:
        """Weigh the tables by preferences (modality-aware preference module)."""
        fused = content[:, -1]
        weights = [query(fused).softmax(dim=1) for query in self.queries]
        weighted = [weight * content[:, m] for m, weight in enumerate(weights)]
        total = torch.zeros_like(fused)
        for prefer, table in zip(self.preferences, [*weighted, fused], strict=True):
            preference = prefer(behavior).sigmoid()
            preference = functional.dropout(preference, self.config.dropout, self.training)
            total = total + preference * table
        return total / len(self.preferences)


def _filter_adjoint(rows: Tensor, weights: Tensor) -> Tensor:
    """Filter each of the `rows` with the adjoint of the filter that has these complex `weights`.

    For rows a and b: ``filter(a) · b = a · adjoint(b)``. The adjoint has the conjugate weights.
    """
    spectrum = torch.fft.rfft(rows, norm="ortho") * torch.view_as_complex(weights).conj()
    filtered: Tensor = torch.fft.irfft(spectrum, rows.shape[1], norm="ortho")
    return filtered
