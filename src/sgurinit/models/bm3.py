"""BM3: bootstrapped views of users, items and modalities, trained without negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
    new_embedding,
)
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.sparse_graph import build_bipartite_graph, propagate_mean

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class BM3Config(RecommenderConfig):
    """Settings of `BM3`. The defaults are those that the authors report for Baby."""

    search_space: ClassVar[SearchSpace] = {
        "n_layers": (1, 2),
        "dropout": (0.3, 0.5),
        "reg": (0.01, 0.1),
    }

    n_layers: int = Field(default=1, ge=1, le=8, description="Layers on the user-item graph.")
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Share of entries zeroed in a target view."
    )
    contrast: float = Field(default=2.0, ge=0, description="Weight of the modality losses.")
    reg: float = Field(default=0.1, ge=0, description="Weight of the penalty on the vectors' norm.")


class BM3(Recommender):
    """Bootstrapped multimodal model.

    Score: ``P(h_u) · P(h_i)``, where P is a linear predictor, ``h_u`` is LightGCN's layer mean and
    ``h_i`` is LightGCN's layer mean plus the item's free vector.

    Loss: ``sum of (1 - cos(P(x), target(y))) + reg * norms``. The targets are vectors before the
    predictor, with dropout and without gradient. Three kinds of pairs (x, y) are compared: user and
    item in both directions (graph reconstruction), a modality and its item (inter-modality
    alignment), a modality and itself (intra-modality alignment). The last two have the weight
    `contrast` and are summed over any number of modalities, whose features are projected linearly.
    The batch's negatives are not used.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : BM3Config, optional
        The model's settings; the defaults if None.

    See Also
    --------
    LightGCN : The propagation that the views come from.
    SLMRec : Also trained without sampled negatives.
    MENTOR : Also aligns the modalities with each other.

    Notes
    -----
    As in the authors' code, the penalty is the norm, not squared, of all users' vectors plus that
    of all items' vectors before the predictor, divided by the number of items. That code also
    trains the raw features. Here they are constants.

    The predictor, the projections and the dropout work row by row. A training step therefore runs
    them only on the batch's distinct users and items, and a node that a batch holds several times
    has one dropout mask.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = BM3(planted(200, 100), BM3.Config(dropout=0.3))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Zhou et al., Bootstrap Latent Representations for Multi-modal Recommendation, WWW 2023, "
        "https://arxiv.org/abs/2207.05969"
    )
    fixed_shapes = True

    config: BM3Config

    def __init__(self, dataset: Dataset, config: BM3Config | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = new_embedding(self.n_users, width)
        self.item_embedding = new_embedding(self.n_items, width)
        self.features = Features(dataset)
        self.predictor = nn.Linear(width, width)
        self.projections = nn.ModuleList(nn.Linear(f.shape[1], width) for f in self.features)
        for layer in (self.predictor, *self.projections):
            nn.init.xavier_normal_(layer.weight)
        self.graph = build_bipartite_graph(dataset.train_matrix())

    def _online(self) -> tuple[Tensor, Tensor]:
        """Compute the vectors of users and items before the predictor."""
        nodes = torch.cat([self.user_embedding, self.item_embedding])
        nodes = propagate_mean(self.graph, nodes, self.config.n_layers)
        return nodes[: self.n_users], nodes[self.n_users :] + self.item_embedding

    def _predicted(self, online: Tensor) -> Tensor:
        predicted: Tensor = self.predictor(online)
        return functional.normalize(predicted, dim=1)

    def _target(self, online: Tensor) -> Tensor:
        return functional.normalize(functional.dropout(online.detach(), self.config.dropout), dim=1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        users, items = self._online()
        return self.predictor(users), self.predictor(items)

    @override
    def loss(self, batch: Batch) -> Tensor:
        all_users, all_items = self._online()
        penalty: Tensor = (all_users.norm() + all_items.norm()) / self.n_items
        users, user_rows, _ = find_distinct(batch.users)
        items, item_rows, counts = find_distinct(batch.positives)
        user_views, item_views = all_users[users], all_items[items]
        user_targets, item_targets = self._target(user_views), self._target(item_views)

        to_items = self._predicted(user_views)[user_rows] * item_targets[item_rows]
        to_users = self._predicted(item_views)[item_rows] * user_targets[user_rows]
        loss = 2 - (to_items + to_users).sum(dim=1).mean()
        shares = counts.to(all_items.dtype) / len(batch.positives)
        for project, features in zip(self.projections, self.features, strict=True):
            views = project(features[items])
            targets = item_targets + self._target(views)
            cosines = (self._predicted(views) * targets).sum(dim=1)
            loss = loss + self.config.contrast * (2 - shares @ cosines)
        return loss + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]
