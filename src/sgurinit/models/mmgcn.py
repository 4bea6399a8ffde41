"""MMGCN: one graph network per modality, connected by shared free vectors."""

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

from sgurinit.core.params import MAX_WIDTH
from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    SearchSpace,
    UserTable,
    new_joint_embeddings,
)
from sgurinit.models.blocks._csr import Sparse
from sgurinit.models.blocks.dense import linear
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.losses import bpr_loss, l2_penalty
from sgurinit.models.blocks.sparse_graph import SparseGraph
from sgurinit.models.blocks.unit_rows import scale_rows

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class MMGCNConfig(RecommenderConfig):
    """Settings of `MMGCN`. The defaults are those that the authors' code gives for TikTok."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-4, 5e-4, 1e-3, 5e-3, 1e-2),
        "reg": (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    learning_rate: float = Field(default=5e-4, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=3, ge=1, le=8, description="Layers of each modality's network.")
    latent_widths: Mapping[str, Annotated[int, Field(ge=1, le=MAX_WIDTH)]] = Field(
        default={"image": 256},
        description="Width that a modality is projected to first. Those not named stay raw.",
    )
    reg: float = Field(default=0.1, ge=0, description="Weight of the L2 penalty, lambda.")


class MMGCN(Recommender):
    """Multi-modal graph convolution network.

    Score: ``x_u · x_i``, where x is the mean over the modalities of each one's graph network.

    Loss: ``BPR + reg * (mean squares of the batch's free vectors and of the preferences)``.

    Each modality has its own network over the user-item graph. Its nodes are the items' features
    and a table of user preferences of the same width, rows scaled to unit length. A layer

    - averages the neighbors' vectors and maps the mean (aggregation layer, marked as equation 1 in
      the authors' code),
    - maps the node's own vector and adds its free vector, which all modalities share (marked as
      equation 5),
    - maps both, joined (combination layer, concatenated).

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : MMGCNConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    GRCN : Weights the edges of the graph by the modalities.
    DualGNN : Adds a user-user graph.

    Notes
    -----
    The authors' code says more than the paper and is followed:

    - The image is projected to 256 columns first, other modalities enter at their own width. So the
      preferences of an image live in the space of that projection, those of others in the raw one.
    - Three layers and concatenation are what the code runs, whatever its options say: it does not
      read the number of layers, and it takes the text ``'False'`` for true.

    Two points are not followed:

    - The code keeps preferences and free vectors outside the module's parameters. Whether penalized
      or not, they keep their random initial values. The paper learns them, and so does this class,
      unless `sgurinit.handover.freeze_` is called or the arm has ``freeze=True``.
    - The code only penalizes the preferences of the image. Here those of all modalities are.

    Raw features are constants in both.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = MMGCN(planted(200, 100), MMGCN.Config(latent_widths={"image": 32}))
    >>> [table.space for table in model.user_tables()]
    ['free', 'projected', 'raw']
    """

    citation = (
        "Wei et al., MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation "
        "of Micro-video, ACM MM 2019, https://doi.org/10.1145/3343031.3351034"
    )
    fixed_shapes = True

    config: MMGCNConfig

    def __init__(self, dataset: Dataset, config: MMGCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        self.user_embedding, self.item_embedding = new_joint_embeddings(
            self.n_users, self.n_items, self.config.width
        )
        interactions = dataset.train_matrix()
        self.to_users = SparseGraph(_average_rows(interactions))
        self.to_items = SparseGraph(_average_rows(interactions.T))
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

    def _vectors(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the final vectors of the given users and items, ``(number, width)`` each."""
        free = self.user_embedding, self.item_embedding
        branches = [
            self._branch(position)(free, (users, items), self.to_users, self.to_items)
            for position in range(len(self.branches))
        ]
        of_users, of_items = (
            torch.stack(tables).mean(dim=0) for tables in zip(*branches, strict=True)
        )
        return of_users, of_items

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        device = self.user_embedding.device
        users = torch.arange(self.n_users, device=device)
        items = torch.arange(self.n_items, device=device)
        return self._vectors(users, items)

    @override
    def loss(self, batch: Batch) -> Tensor:
        both = torch.cat([batch.positives, batch.negatives])
        users, user_rows, _ = find_distinct(batch.users)
        items, item_rows, _ = find_distinct(both)
        of_users, of_items = self._vectors(users, items)
        ranking = bpr_loss(of_users[user_rows], *of_items[item_rows].chunk(2))
        free_users = self.user_embedding[batch.users]
        # The authors' batch holds each user twice, once per item, and takes the mean.
        penalty = l2_penalty(free_users, free_users, self.item_embedding[both]) / self.config.width
        for table in self._preferences():
            penalty = penalty + table.square().mean()
        return ranking + self.config.reg * penalty

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
    features : Tensor, shape (n_items, d_m)
        The modality.
    to_users : SparseGraph
        Mean of each user's items.
    config : MMGCNConfig
        Settings of the model.
    latent_width : int, optional
        Width of the projection; None for no projection.
    """

    features: Tensor
    received: Tensor | None

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
        received = None
        if self.projection is None:
            # Raw features are constants, and so is what users receive from them.
            features = scale_rows(features)
            received = to_users(features)
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("received", received, persistent=False)

    @override
    def forward(
        self,
        free: tuple[Tensor, Tensor],
        rows: tuple[Tensor, Tensor],
        to_users: SparseGraph,
        to_items: SparseGraph,
    ) -> tuple[Tensor, Tensor]:
        users, items = scale_rows(self.preferences), self.features
        if self.projection is not None:
            items = scale_rows(linear(items, self.projection.weight, self.projection.bias))
        received = self.received
        *inner, last = (cast(_Layer, layer) for layer in self.layers)
        for layer in inner:
            for_users = layer.average(items, to_users) if received is None else layer.map(received)
            for_items = layer.average(users, to_items)
            users, items = layer(users, for_users, free[0]), layer(items, for_items, free[1])
            received = None
        of_users, of_items = rows
        if received is None:
            received = to_users(items)
        for_users, for_items = last.map(received[of_users]), last.map(to_items(users)[of_items])
        return (
            last(users[of_users], for_users, free[0][of_users]),
            last(items[of_items], for_items, free[1][of_items]),
        )


class _Layer(nn.Module):
    """Aggregate and combine any rows: ``(rows, entry)`` to ``(rows, width)``."""

    def __init__(self, entry: int, width: int) -> None:
        super().__init__()
        self.aggregate = nn.Linear(entry, entry, bias=False)
        self.own = nn.Linear(entry, width)
        self.combine = nn.Linear(entry + width, width)
        nn.init.xavier_normal_(self.aggregate.weight)
        nn.init.xavier_normal_(self.own.weight)

    def map(self, means: Tensor) -> Tensor:
        """Map the means of neighbors."""
        return linear(means, self.aggregate.weight)

    def average(self, nodes: Tensor, graph: SparseGraph) -> Tensor:
        """Compute the mapped means of neighbors, for each row of `graph`."""
        # Mapping the mean equals the mean of the maps. So whichever has fewer rows is mapped.
        n_rows, n_columns = graph.shape
        return graph(self.map(nodes)) if n_columns < n_rows else self.map(graph(nodes))

    @override
    def forward(self, nodes: Tensor, means: Tensor, free: Tensor) -> Tensor:
        aggregated = functional.leaky_relu_(means)
        own = functional.leaky_relu_(linear(nodes, self.own.weight, self.own.bias)) + free
        # Mapping two joined vectors equals the sum of their maps, which needs no joined copy.
        widths = [aggregated.shape[1], own.shape[1]]
        first, second = self.combine.weight.split(widths, dim=1)
        combined = linear(own, second, self.combine.bias).add_(linear(aggregated, first))
        return functional.leaky_relu_(combined)


def _average_rows(matrix: Sparse) -> Sparse:
    """Divide rows by their sums. Rows without entries stay zero."""
    csr = sp.csr_array(matrix)
    sums = np.asarray(csr.sum(axis=1)).ravel()
    return sp.csr_array(sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ csr)
