"""The modality branches of DualGNN, DRAGON and MENTOR: preferences and projected features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from sgurinit.models.base import UserTable
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.unit_rows import scale_rows


class Branch(nn.Module):
    """One modality: the users' preferences and the items' features, mapped to the same space.

    Two affine maps with a leaky ReLU between them map the features; the middle is four times as
    wide as the space. All rows are scaled to unit length.

    Parameters
    ----------
    n_users : int
        Number of users.
    n_features : int
        Width of the items' features.
    width : int
        Width of the shared space.
    """

    def __init__(self, n_users: int, n_features: int, width: int) -> None:
        super().__init__()
        self.preference = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_users, width)))
        self.projection = nn.Sequential(
            nn.Linear(n_features, 4 * width),
            nn.LeakyReLU(inplace=True),
            nn.Linear(4 * width, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Compute unit vectors of users (first) and items, ``(n_users + n_items, width)``."""
        # Each half is normalized by itself, which saves a copy of both.
        users = scale_rows(self.preference)
        return torch.cat([users, scale_rows(self.projection(features))])


class Branches(nn.Module):
    """One `Branch` per modality.

    Parameters
    ----------
    n_users : int
        Number of users.
    features : Features
        Every modality's features.
    width : int
        Width of each modality's space.
    """

    def __init__(self, n_users: int, features: Features, width: int) -> None:
        super().__init__()
        self.features = features
        self.branches = nn.ModuleList(Branch(n_users, f.shape[1], width) for f in features)

    def __iter__(self) -> Iterator[Branch]:
        return (cast(Branch, branch) for branch in self.branches)

    def forward(self) -> list[Tensor]:
        """Compute unit vectors of users (first) and items, one table per modality."""
        return [branch(features) for branch, features in zip(self, self.features, strict=True)]

    def penalty(self, users: Tensor) -> Tensor:
        """Sum, over the modalities, the mean square of the preferences of the batch's `users`."""
        total = self.features[0].new_zeros(())
        for branch in self:
            total = total + branch.preference[users].square().mean()
        return total

    def user_tables(self, name: str) -> list[UserTable]:
        """List every modality's preferences; `name` is the model's attribute for this module."""
        return [
            UserTable(
                f"{name}.branches.{position}.preference",
                branch.preference,
                "projected",
                modality=self.features.modalities[position],
                features=self.features[position],
                project=branch.projection,
            )
            for position, branch in enumerate(self)
        ]


def new_modality_weights(n_users: int, n_modalities: int) -> nn.Parameter:
    """Create each user's weights of the modalities, ``(n_users, n_modalities)``.

    At first they are near ``1 / n_modalities`` and sum to 1. As in the authors' code, the softmax
    is only taken of the initial values; after that the weights are unconstrained.
    """
    logits = nn.init.xavier_normal_(torch.empty(n_users, n_modalities))
    return nn.Parameter(logits.softmax(dim=1))
