"""Vectors of new users, from the items they clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.core.steps.aggregate import ItemSide, aggregate_users


@dataclass(frozen=True)
class NewUserSpace:
    """A space in which new users are computed by the method's own equations, without training.

    Attributes
    ----------
    side : ItemSide
        Items of the space with their clusters and weights.
    local_weight : float
        Share of the local half, in [0, 1].
    local_norm : {"mean", "sym"}
        Normalization of the local half.
    """

    side: ItemSide
    local_weight: float
    local_norm: str

    def compute_user(self, items: Sequence[int]) -> Float32Array:
        """Compute the vector ``(d,)`` of a user with these items, by position and ascending."""
        ones = np.ones(len(items), dtype=np.int8)
        pointers = np.array([0, len(items)])
        shape = (1, len(self.side.rows))
        matrix = sp.csr_array((ones, np.array(items), pointers), shape=shape)
        rows: Float32Array = aggregate_users(
            matrix, self.side, local_weight=self.local_weight, local_norm=self.local_norm
        )
        user: Float32Array = rows[0]
        return user
