"""VBPR: matrix factorization plus a part computed from features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar

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
    new_embedding,
)
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.losses import l2_penalty, margin_loss

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class VBPRConfig(RecommenderConfig):
    """Settings of `VBPR`.

    The paper uses 20 factors in all. The default here is the width at which the literature
    compares models, for the free part and for each modality's part.
    """

    search_space: ClassVar[SearchSpace] = {"reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)}

    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty.")


class VBPR(Recommender):
    """Visual BPR: free factors plus, per modality, factors projected from features.

    Score: ``beta_i + gamma_u · gamma_i + sum_m (theta_u^m · (E^m f_i^m) + beta^m · f_i^m)`` over
    the modalities m (equation 4 of the paper, for any number of modalities).

    Loss: ``BPR + reg * L2``, the penalty on the batch's vectors and biases, and on ``E`` and
    ``beta``.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : VBPRConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    BPRMF : The free part by itself.
    GRCN : Also has user preferences per modality, and refines the graph with them.

    Notes
    -----
    The paper's terms ``alpha`` and ``beta_u`` are left out: they do not change any user's ranking
    and cancel in the pairwise loss.

    As in the authors' code, features are divided by their largest value. With raw features, whose
    norms are far above those of the factors, steps of any useful size overshoot.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = VBPR(planted(200, 100), VBPR.Config(reg=0.01))
    >>> [table.space for table in model.user_tables()]
    ['free', 'projected', 'projected']
    """

    citation = (
        "He and McAuley, VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback, "
        "AAAI 2016, https://arxiv.org/abs/1510.01784"
    )
    fixed_shapes = True

    config: VBPRConfig

    def __init__(self, dataset: Dataset, config: VBPRConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = new_embedding(self.n_users, width)
        self.item_embedding = new_embedding(self.n_items, width)
        self.item_bias = nn.Parameter(torch.zeros(self.n_items))
        self.features = Features(dataset, unit_range=True)
        self.user_content = nn.ParameterList(
            new_embedding(self.n_users, width) for _ in self.features
        )
        self.projections = nn.ParameterList(new_embedding(f.shape[1], width) for f in self.features)
        self.content_biases = nn.ParameterList(torch.zeros(f.shape[1]) for f in self.features)

    def _contents(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the features, the projection and the feature biases of each modality."""
        return zip(self.features, self.projections, self.content_biases, strict=True)

    def _project(self, position: int, features: Tensor) -> Tensor:
        projected: Tensor = features @ self.projections[position]
        return projected

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        bias: Tensor = self.item_bias
        parts: list[Tensor] = [self.item_embedding]
        for features, projection, content_bias in self._contents():
            parts.append(features @ projection)
            bias = bias + features @ content_bias
        # The users' last column is 1 and multiplies the items' total bias.
        ones = bias.new_ones(self.n_users, 1)
        users = torch.cat([self.user_embedding, *self.user_content, ones], dim=1)
        return users, torch.cat([*parts, bias[:, None]], dim=1)

    @override
    def loss(self, batch: Batch) -> Tensor:
        users = self.user_embedding[batch.users]
        both = torch.cat([batch.positives, batch.negatives])
        items, biases = self.item_embedding[both], self.item_bias[both]
        penalty = l2_penalty(users, items, biases)
        # Scores are linear in an item's vector, features and biases, so margins only need the
        # differences of positives and negatives.
        margins = (users * _subtract_halves(items)).sum(dim=1) + _subtract_halves(biases)
        for table, (features, projection, content_bias) in zip(
            self.user_content, self._contents(), strict=True
        ):
            users = table[batch.users]
            # On CPUs several times as fast as features[both].
            content = _subtract_halves(features.index_select(0, both))
            margins = margins + (users * (content @ projection)).sum(dim=1) + content @ content_bias
            penalty = penalty + l2_penalty(users)
            penalty = penalty + (projection.square().sum() + content_bias.square().sum()) / 2
        return margin_loss(margins) + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        free = UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)
        projected = [
            UserTable(
                f"user_content.{position}",
                table,
                "projected",
                modality=self.features.modalities[position],
                features=self.features[position],
                project=partial(self._project, position),
            )
            for position, table in enumerate(self.user_content)
        ]
        return [free, *projected]


def _subtract_halves(rows: Tensor) -> Tensor:
    """Subtract the second half of the rows, the negatives', from the first, the positives'."""
    positives, negatives = rows.chunk(2)
    return positives - negatives
