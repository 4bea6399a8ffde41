"""VBPR: matrix factorisation with a content half."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from sgurinit.models.base import (
    Batch,
    Recommender,
    RecommenderConfig,
    UserTable,
    embedding,
    feature_tensors,
)
from sgurinit.models.losses import bpr, l2

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class VBPRConfig(RecommenderConfig):
    """Settings of `VBPR`.

    The paper uses 20 factors in all; the default here is the width at which this literature
    compares models, for the latent and for each content half.
    """

    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty.")


class VBPR(Recommender):
    """Visual BPR: latent factors plus, per modality, content factors projected from features.

    Equation 4 of the paper, ``alpha + beta_u + beta_i + gamma_u·gamma_i + theta_u·(E f_i) +
    beta'·f_i``, with one ``theta_u``, ``E`` and ``beta'`` per modality, their terms summed. The
    terms ``alpha`` and ``beta_u`` change no user's ranking, cancel in the pairwise criterion and
    are left out.
    """

    citation = (
        "He and McAuley, VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback, "
        "AAAI 2016, https://arxiv.org/abs/1510.01784"
    )

    config: VBPRConfig

    def __init__(self, dataset: Dataset, config: VBPRConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = embedding(self.n_users, width)
        self.item_embedding = embedding(self.n_items, width)
        self.item_bias = nn.Parameter(torch.zeros(self.n_items))
        self.modalities = list(dataset.features)
        self.user_content = nn.ParameterDict()
        self.projection = nn.ParameterDict()
        self.content_bias = nn.ParameterDict()
        for modality, values in feature_tensors(dataset).items():
            self.register_buffer(f"features_{modality}", values, persistent=False)
            self.user_content[modality] = embedding(self.n_users, width)
            self.projection[modality] = embedding(values.shape[1], width)
            self.content_bias[modality] = nn.Parameter(torch.zeros(values.shape[1]))

    def _features(self, modality: str) -> Tensor:
        return self.get_buffer(f"features_{modality}")

    def _project(self, modality: str) -> Tensor:
        projected: Tensor = self._features(modality) @ self.projection[modality]
        return projected

    def _user_vectors(self, users: Tensor) -> Tensor:
        """Vectors ``(b, d)`` whose last column is the 1 that meets the items' bias."""
        parts = [self.user_embedding[users]]
        parts += [self.user_content[modality][users] for modality in self.modalities]
        return torch.cat([*parts, parts[0].new_ones(len(users), 1)], dim=1)

    def _item_vectors(self, items: Tensor) -> Tensor:
        """Vectors ``(b, d)`` whose last column is the items' whole bias."""
        bias = self.item_bias[items]
        parts = [self.item_embedding[items]]
        for modality in self.modalities:
            features = self._features(modality)[items]
            parts.append(features @ self.projection[modality])
            bias = bias + features @ self.content_bias[modality]
        return torch.cat([*parts, bias[:, None]], dim=1)

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        device = self.item_bias.device
        users = torch.arange(self.n_users, device=device)
        items = torch.arange(self.n_items, device=device)
        return self._user_vectors(users), self._item_vectors(items)

    @override
    def loss(self, batch: Batch) -> Tensor:
        users = self._user_vectors(batch.users)
        positives = self._item_vectors(batch.positives)
        negatives = self._item_vectors(batch.negatives)
        penalty = l2(
            users[:, :-1],
            self.item_embedding[batch.positives],
            self.item_embedding[batch.negatives],
            self.item_bias[batch.positives],
            self.item_bias[batch.negatives],
        )
        for modality in self.modalities:
            penalty = penalty + self.projection[modality].square().sum() / 2
            penalty = penalty + self.content_bias[modality].square().sum() / 2
        return bpr(users, positives, negatives) + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        tables = [UserTable("user_embedding", self.user_embedding, "id", items=self.item_embedding)]
        return tables + [
            UserTable(
                f"user_content.{modality}",
                self.user_content[modality],
                "projected",
                modality=modality,
                project=partial(self._project, modality),
            )
            for modality in self.modalities
        ]
