"""Modality branches as DualGNN, DRAGON and MENTOR have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sgurinit.models.base import UserTable
from sgurinit.models.blocks.features import Features
from sgurinit.models.blocks.graphs import SparseGraph


class Branch(nn.Module):
    """Users' preferences in a modality and the items' features mapped to the same space.

    Two affine maps with a leaky ReLU between them, four times as wide in the middle, take the
    features to the space in which the table of preferences lives. All rows are brought to unit
    length before they meet.

    Parameters
    ----------
    n_users
        Number of users.
    n_features
        Width of the items' features.
    width
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
        """Unit vectors of users, first, and items: ``(n_users + n_items, width)``."""
        # Each half by itself: the same rows, without a copy of both.
        users = functional.normalize(self.preference)
        return torch.cat([users, functional.normalize(self.projection(features))])


class Branches(nn.Module):
    """One `Branch` per modality.

    Parameters
    ----------
    n_users
        Number of users.
    features
        Every modality's features.
    width
        Width of each modality's space.
    """

    def __init__(self, n_users: int, features: Features, width: int) -> None:
        super().__init__()
        self.features = features
        self.branches = nn.ModuleList(Branch(n_users, f.shape[1], width) for f in features)

    def __iter__(self) -> Iterator[Branch]:
        return (cast(Branch, branch) for branch in self.branches)

    def forward(self) -> list[Tensor]:
        """Unit vectors of users, first, and items, by modality."""
        return [branch(features) for branch, features in zip(self, self.features, strict=True)]

    def penalty(self, users: Tensor) -> Tensor:
        """Sum over the modalities of the mean square of the preferences of the batch's `users`."""
        total = self.features[0].new_zeros(())
        for branch in self:
            total = total + branch.preference[users].square().mean()
        return total

    def user_tables(self, name: str) -> list[UserTable]:
        """Every modality's preferences, where the model calls these branches `name`."""
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


def propagate_sum(graph: SparseGraph, x: Tensor, n_layers: int) -> Tensor:
    """Sum of `x` and its `n_layers` propagations over `graph`."""
    total = x
    for _ in range(n_layers):
        x = graph(x)
        total = total + x
    return total


def modality_weights(n_users: int, n_modalities: int) -> nn.Parameter:
    """Each user's weights of the modalities ``(n_users, n_modalities)``: near 1/n, sum 1, at first.

    As in the authors' codes, the softmax is of the initial values only; then the weights are free.
    """
    logits = nn.init.xavier_normal_(torch.empty(n_users, n_modalities))
    return nn.Parameter(logits.softmax(dim=1))
