"""DualGNN: a user-item graph per modality and a graph of users who share items."""

from __future__ import annotations

from functools import reduce
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from sgurinit.models.base import SearchSpace
from sgurinit.models.blocks.user_neighbor_base import UserNeighborConfig, UserNeighborRecommender


class DualGNNConfig(UserNeighborConfig):
    """Settings of `DualGNN`. The defaults are those of the authors' code.

    The search space is that of the toolkit MMRec.
    """

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "reg": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    }

    reg: float = Field(default=0.1, ge=0, description="Weight of the L2 penalty.")


class DualGNN(UserNeighborRecommender):
    """Dual graph neural network.

    Score: ``(x_u + S x_u) · x_i``. Per modality, preferences and projected features are propagated
    over the interactions and all layers are summed (single-modal representation learning). An
    item's ``x_i`` is the sum over the modalities, a user's ``x_u`` a sum with weights of the user's
    own (multi-modal representation learning). S averages the users that share most items with a
    user, weighted by the softmax of how many they share. Any number of modalities works.

    Loss: ``BPR / ln 2 + reg * (mean squares of the batch's preferences and of all weights)``.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : DualGNNConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    DRAGON : Joins the modalities side by side and adds an item-item graph.
    MMGCN : Also has a graph network per modality.

    Notes
    -----
    The authors' code is followed in the base of the logarithm, the penalty and the 40 user
    neighbors. Its variant for one data set, which keeps users at the features' own width, is left
    out. So are the items' weights, which it penalizes but never uses. Three points differ:

    - It fills up the neighbors of a user who has fewer than 40 by drawing from them again each
      epoch. Here a user has only the neighbors that exist.
    - It scores with the vectors of the last training step. Here scores come from the present
      weights.
    - Among equally near users it keeps arbitrary ones. Here it is those with the lower positions.

    MMRec's port adds the second modality's vectors to the first one's in place before it weights
    them, so a user's vector is ``w1 (v1 + v2) + w2 v2``. That is the same model with initial
    weights 1/2 and 1 instead of 1/2 and 1/2. The authors' code does not do this, nor does this
    class.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = DualGNN(planted(200, 100), DualGNN.Config(k_users=10))
    >>> [table.space for table in model.user_tables()]
    ['projected', 'projected']
    """

    citation = (
        "Wang et al., DualGNN: Dual Graph Neural Network for Multimedia Recommendation, "
        "IEEE Transactions on Multimedia 25, 2023, https://doi.org/10.1109/TMM.2021.3138298"
    )
    fixed_shapes = True

    config: DualGNNConfig

    @override
    def _join(self, users: list[Tensor], items: list[Tensor]) -> tuple[Tensor, Tensor]:
        return reduce(torch.add, users), reduce(torch.add, items)
