"""GRCN: a user-item graph whose edges are weighted by the modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    SearchSpace,
    UserTable,
    new_joint_embeddings,
)
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.learned_graph import LearnedGraph
from sgurinit.models.blocks.losses import bpr_loss, l2_penalty
from sgurinit.models.blocks.unit_rows import scale_rows

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class GRCNConfig(RecommenderConfig):
    """Settings of `GRCN`. The defaults are those that the authors' code gives for TikTok."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's step size.")
    n_routings: int = Field(default=3, ge=0, le=8, description="Iterations of neighbor routing.")
    pruning: Literal["soft", "hard"] = Field(
        default="soft",
        description="Keep edges of negative weight ('soft') or set them to 0 ('hard').",
    )
    reg: float = Field(default=1e-3, ge=0, description="Weight of the L2 penalty, lambda.")


class GRCN(Recommender):
    """Graph-refined convolutional network.

    Score: ``z_u · z_i``, where z joins the free vectors convolved over the refined graph with each
    modality's vectors.

    Loss: ``BPR + reg * (mean squares of the batch's free vectors and preferences)``.

    - Graph refining layer. Per modality, items are their features mapped to unit vectors. Neighbor
      routing moves users' preferences towards them: each iteration adds to a user's vector the mean
      of the user's items, weighted by the softmax of their dot products, and scales it to unit
      length. The same softmax over the edges that arrive at a node is the edge's weight in the
      modality, one per direction. It is multiplied by the confidence that the edge's source has in
      the modality. The largest such weight over the modalities is the edge's weight in the refined
      graph.
    - Graph convolutional layer. The free vectors, scaled to unit length, and two propagations of
      them over the refined graph are summed.
    - Prediction layer. These are joined with each modality's vectors plus their neighbors' weighted
      ones.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : GRCNConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    MMGCN : Also has user preferences per modality, on an unweighted graph.
    FREEDOM : Also refines the user-item graph, by sampling.

    Notes
    -----
    Soft pruning, which the paper names and the authors' commands choose, keeps the weights as they
    are. With hard pruning, the default of their program, negative weights become 0.

    One point of the authors' code is clearly a slip and is not followed. It sends the messages of
    the routing from users to items and then reads the users' rows, which are all zero, so the
    routing has no effect. Here users receive what the paper describes. ``n_routings=0`` is what
    that code computes. Raw features are constants in both.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = GRCN(planted(200, 100), GRCN.Config(pruning="hard"))
    >>> [table.space for table in model.user_tables()]
    ['free', 'projected', 'projected']
    """

    citation = (
        "Wei et al., Graph-Refined Convolutional Network for Multimedia Recommendation with "
        "Implicit Feedback, ACM MM 2020, https://arxiv.org/abs/2111.02036"
    )
    fixed_shapes = True

    config: GRCNConfig

    def __init__(self, dataset: Dataset, config: GRCNConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding, self.item_embedding = new_joint_embeddings(
            self.n_users, self.n_items, width
        )
        self.features = Features(dataset)
        self.preferences = nn.ParameterList(
            nn.init.xavier_normal_(torch.empty(self.n_users, width)) for _ in self.features
        )
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(f.shape[1], width), nn.LeakyReLU()) for f in self.features
        )
        self.user_confidence, self.item_confidence = new_joint_embeddings(
            self.n_users, self.n_items, len(self.features)
        )
        self.edges = _Edges(dataset)

    def _refine(self, position: int) -> _View:
        """Compute one modality's vectors and its weight of each edge."""
        users = scale_rows(self.preferences[position])
        items = scale_rows(self.projections[position](self.features[position]))
        for _ in range(self.config.n_routings):
            shares = self.edges.to_users.softmax(self.edges(users, items))
            users = scale_rows(users + self.edges.to_users(shares, items))
        similarity = self.edges(users, items)
        into_users = self.edges.to_users.softmax(similarity)
        into_items = self.edges.to_items.softmax(similarity)
        received = torch.cat(
            [self.edges.to_users(into_users, items), self.edges.to_items(into_items, users)]
        )
        return _View(torch.cat([users, items]) + received, into_users, into_items)

    def _convolve(self, views: list[_View]) -> Tensor:
        """Propagate the free vectors over the refined graph, ``(n_users + n_items, width)``."""
        # An edge's weight is multiplied by the confidence that its source has in the modality.
        trusted_items = self.item_confidence[self.edges.items]
        trusted_users = self.user_confidence[self.edges.users]
        into_users = torch.stack([view.into_users for view in views], dim=1) * trusted_items
        into_items = torch.stack([view.into_items for view in views], dim=1) * trusted_users
        to_users, to_items = into_users.max(dim=1).values, into_items.max(dim=1).values
        if self.config.pruning == "hard":
            to_users, to_items = to_users.relu(), to_items.relu()
        users = scale_rows(self.user_embedding)
        items = scale_rows(self.item_embedding)
        total = torch.cat([users, items])
        for _ in range(2):
            from_items = self.edges.to_users(to_users, items)
            users, items = from_items, self.edges.to_items(to_items, users)
            total = total + torch.cat([users, items])
        return total

    def _nodes(self) -> list[Tensor]:
        """Compute the parts that, joined, are the final vectors of all nodes, users first."""
        views = [self._refine(position) for position in range(len(self.features))]
        return [self._convolve(views), *(view.vectors for view in views)]

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        users, items = torch.cat(self._nodes(), dim=1).split([self.n_users, self.n_items])
        return users, items

    @override
    def loss(self, batch: Batch) -> Tensor:
        nodes, rows, _ = find_distinct(
            torch.cat([batch.users, batch.positives + self.n_users, batch.negatives + self.n_users])
        )
        final = torch.cat([part[nodes] for part in self._nodes()], dim=1)
        users, positives, negatives = final[rows].chunk(3)
        free_users = self.user_embedding[batch.users]
        # The authors' batch holds each user twice, once per item, and takes the mean.
        penalty = (
            l2_penalty(
                free_users,
                free_users,
                self.item_embedding[batch.positives],
                self.item_embedding[batch.negatives],
            )
            / self.config.width
        )
        for preferences in self.preferences:
            penalty = penalty + preferences[batch.users].square().mean()
        return bpr_loss(users, positives, negatives) + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        free = UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)
        projected = [
            UserTable(
                f"preferences.{position}",
                table,
                "projected",
                modality=self.features.modalities[position],
                features=self.features[position],
                project=self.projections[position],
            )
            for position, table in enumerate(self.preferences)
        ]
        return [free, *projected]


class _View(NamedTuple):
    """One modality's view of the graph.

    Attributes
    ----------
    vectors : Tensor, shape (n_users + n_items, width)
        Vectors of all nodes, users first.
    into_users, into_items : Tensor, shape (n_edges,)
        Weights of the edges in each direction. They sum to 1 at each node that they reach.
    """

    vectors: Tensor
    into_users: Tensor
    into_items: Tensor


class _Edges(nn.Module):
    """A data set's training interactions as edges in both directions, by user, then by item.

    Attributes
    ----------
    users, items : Tensor of int64, shape (n_edges,)
        The two ends of each edge.
    to_users, to_items : LearnedGraph
        The graph in each direction. Both take the weights of the edges in the same order.
    """

    users: Tensor
    items: Tensor

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        edges = sp.coo_array(dataset.train_matrix())
        users = torch.from_numpy(edges.row.astype(np.int64))
        items = torch.from_numpy(edges.col.astype(np.int64))
        self.register_buffer("users", users, persistent=False)
        self.register_buffer("items", items, persistent=False)
        self.to_users = LearnedGraph(users, items, edges.shape)
        self.to_items = LearnedGraph(items, users, edges.shape[::-1])

    @override
    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Compute the dot product of the two ends of each edge, ``(n_edges,)``."""
        return self.to_users.multiply_at_entries(users, items)
