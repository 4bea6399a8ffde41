"""MMGCN: one graph network per modality, bridged by free vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

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
    joint_tables,
)
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.graphs import Sparse, SparseGraph
from sgurinit.models.blocks.losses import bpr, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MMGCNConfig(RecommenderConfig):
    """Settings of `MMGCN`; defaults are those that the authors' code gives for TikTok."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-4, 5e-4, 1e-3, 5e-3, 1e-2),
        "reg": (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    learning_rate: float = Field(default=5e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=3, ge=1, le=8, description="Layers of each modality's network.")
    latent_widths: Mapping[str, Annotated[int, Field(ge=1)]] = Field(
        default={"image": 256},
        description="Width that a modality is projected to first; those not named stay raw.",
    )
    reg: float = Field(default=0.1, ge=0, description="Weight of the L2 penalty, lambda.")


class MMGCN(Recommender):
    """Multi-modal graph convolution network.

    Each modality has a network of its own over the user-item graph. Its nodes start as the items'
    features and a table of user preferences of the same width, rows to unit length. A layer means
    the neighbours' vectors and maps them (aggregation layer, which the authors' code marks as
    equation 1), maps the node's own vector and adds its free vector, which all modalities share
    (marked as equation 5), and maps both, joined (combination layer, concatenated). The mean of
    the networks' results, one per modality, is the final vector. Losses: BPR and a penalty on the
    mean square of the batch's free vectors and of the preferences.

    The authors' code says more than the paper, and is followed:

    - the image is projected to 256 columns first, other modalities enter at their own width, so
      the preferences of an image live in that projection's space, those of others in the raw one;
    - three layers and concatenation are what it runs, whatever its options ask for: the number of
      layers is not read, and the text ``'False'`` is taken for true.

    It is not followed in two points. It keeps preferences and free vectors outside the module's
    parameters, so that, penalised or not, they stay the random vectors that they began as; the
    paper learns them, and so does this class, unless `freeze_` is called or the arm has
    ``freeze=True``. And it penalises the preferences of the image only. The raw features are
    constants in both.
    """

    citation = (
        "Wei et al., MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation "
        "of Micro-video, ACM MM 2019, https://doi.org/10.1145/3343031.3351034"
    )

    config: MMGCNConfig

    def __init__(self, dataset: Dataset, config: MMGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding, self.item_embedding = joint_tables(
            self.n_users, self.n_items, self.config.width
        )
        interactions = dataset.train_matrix()
        self.to_users = SparseGraph(_row_mean(interactions))
        self.to_items = SparseGraph(_row_mean(interactions.T))
        features = Features(dataset)
        self.modalities = features.modalities
        self.branches = nn.ModuleList(
            _Branch(table, self.to_users, self.config, self.config.latent_widths.get(modality))
            for modality, table in zip(features.modalities, features, strict=True)
        )

    def _branch(self, position: int) -> _Branch:
        return cast(_Branch, self.branches[position])

    def _preferences(self) -> list[nn.Parameter]:
        return [self._branch(position).preferences for position in range(len(self.branches))]

    def _nodes(self, wanted: Tensor) -> Tensor:
        """Final vectors of the `wanted` nodes, users first, ``(len(wanted), width)``."""
        free = torch.cat([self.user_embedding, self.item_embedding])
        total = free.new_zeros(())
        for position in range(len(self.branches)):
            total = total + self._branch(position)(free, wanted, self.to_users, self.to_items)
        return total / len(self.branches)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        every = torch.arange(self.n_users + self.n_items, device=self.user_embedding.device)
        users, items = self._nodes(every).split([self.n_users, self.n_items])
        return users, items

    @override
    def loss(self, batch: Batch) -> Tensor:
        nodes, rows = torch.cat(
            [batch.users, batch.positives + self.n_users, batch.negatives + self.n_users]
        ).unique(return_inverse=True)
        users, positives, negatives = self._nodes(nodes)[rows].chunk(3)
        free_users = self.user_embedding[batch.users]
        # The authors' batch holds each user twice, once for either item, and takes the mean.
        penalty = (
            l2(
                free_users,
                free_users,
                self.item_embedding[batch.positives],
                self.item_embedding[batch.negatives],
            )
            / self.config.width
        )
        for table in self._preferences():
            penalty = penalty + table.square().mean()
        return bpr(users, positives, negatives) + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        tables = [
            UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)
        ]
        for position, modality in enumerate(self.modalities):
            branch = self._branch(position)
            name = f"branches.{position}.preferences"
            if branch.projection is None:
                raw = UserTable(
                    name, branch.preferences, "raw", modality=modality, features=branch.features
                )
                tables.append(raw)
                continue
            tables.append(
                UserTable(
                    name,
                    branch.preferences,
                    "projected",
                    modality=modality,
                    features=branch.features,
                    project=branch.projection,
                )
            )
        return tables


class _Branch(nn.Module):
    """One modality's network.

    Parameters
    ----------
    features
        The modality, ``(n_items, d_m)``.
    to_users
        Mean of each user's items.
    config
        Settings of the model.
    latent_width
        Width of the projection; None for none.
    """

    features: Tensor
    heard: Tensor

    def __init__(
        self, features: Tensor, to_users: SparseGraph, config: MMGCNConfig, latent_width: int | None
    ) -> None:
        super().__init__()
        n_users, raw_width = to_users.shape[0], features.shape[1]
        entry = latent_width or raw_width
        self.preferences = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_users, entry)))
        self.projection = None if latent_width is None else nn.Linear(raw_width, latent_width)
        self.layers = nn.ModuleList(
            _Layer(config.width if depth else entry, config.width)
            for depth in range(config.n_layers)
        )
        nn.init.xavier_normal_(cast(_Layer, self.layers[0]).combine.weight)
        if self.projection is None:
            # Raw features are constants, and so is what the users hear of them.
            features = functional.normalize(features)
            self.register_buffer("heard", to_users(features), persistent=False)
        self.register_buffer("features", features, persistent=False)

    @override
    def forward(
        self, free: Tensor, wanted: Tensor, to_users: SparseGraph, to_items: SparseGraph
    ) -> Tensor:
        users = functional.normalize(self.preferences)
        if self.projection is None:
            items, heard = self.features, self.heard
        else:
            items = functional.normalize(self.projection(self.features))
            heard = to_users(items)
        nodes = torch.cat([users, items])
        neighbours = torch.cat([heard, to_items(users)])
        *inner, last = self.layers
        for layer in inner:
            nodes = layer(nodes, neighbours, free)
            users, items = nodes.split([len(users), len(items)])
            neighbours = torch.cat([to_users(items), to_items(users)])
        result: Tensor = last(nodes[wanted], neighbours[wanted], free[wanted])
        return result


class _Layer(nn.Module):
    """Aggregation and combination at any rows: ``(rows, entry)`` to ``(rows, width)``."""

    def __init__(self, entry: int, width: int) -> None:
        super().__init__()
        self.aggregate = nn.Linear(entry, entry, bias=False)
        self.own = nn.Linear(entry, width)
        self.combine = nn.Linear(entry + width, width)
        nn.init.xavier_normal_(self.aggregate.weight)
        nn.init.xavier_normal_(self.own.weight)

    @override
    def forward(self, nodes: Tensor, neighbours: Tensor, free: Tensor) -> Tensor:
        # The map of a mean is the mean of the maps.
        aggregated = functional.leaky_relu(self.aggregate(neighbours), inplace=True)
        own = functional.leaky_relu(self.own(nodes), inplace=True) + free
        # The map of two joined vectors is the sum of their maps, without a copy of both.
        first, second = self.combine.weight.T.split([aggregated.shape[1], own.shape[1]])
        combined = torch.addmm(torch.addmm(self.combine.bias, own, second), aggregated, first)
        return functional.leaky_relu(combined, inplace=True)


def _row_mean(matrix: Sparse) -> Sparse:
    """Rows divided by their sums; rows without entries stay zero."""
    csr = sp.csr_array(matrix)
    sums = np.asarray(csr.sum(axis=1)).ravel()
    return sp.csr_array(sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ csr)
