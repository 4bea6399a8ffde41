"""SLMRec: self-supervised learning across behavior and modalities."""

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
from sgurinit.models.blocks.distinct import Distinct, find_distinct
from sgurinit.models.blocks.features import Features, is_narrow
from sgurinit.models.blocks.sparse_graph import SparseGraph, normalize_interactions

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class SLMRecConfig(RecommenderConfig):
    """Settings of `SLMRec`. The defaults are those of the authors' code."""

    search_space: ClassVar[SearchSpace] = {
        "learning_rate": (1e-4, 1e-3, 1e-2, 1e-1),
        "contrast": (0.01, 0.05, 0.1, 0.5, 1.0),
        "contrast_temperature": (0.1, 0.2, 0.5, 1.0),
    }

    learning_rate: float = Field(default=1e-2, gt=0, description="Adam's step size.")
    n_layers: int = Field(default=3, ge=1, le=8, description="Layers on the user-item graph.")
    temperature: float = Field(default=0.2, gt=0, description="Temperature of the main task.")
    contrast: float = Field(default=0.1, ge=0, description="Weight of the self-supervised task.")
    contrast_temperature: float = Field(
        default=0.2, gt=0, description="Temperature of the self-supervised task."
    )
    reg: float = Field(default=1e-4, ge=0, description="Weight of the L2 penalty on all weights.")


class SLMRec(Recommender):
    """Self-supervised learning for multimedia recommendation, with the task FAC.

    Score: ``F_U [views of u] · F_I [views of i]``, where the F are linear layers and the views,
    joined, are behavior (free vectors) and one per modality (unit-length features, projected
    linearly). Each view is LightGCN's layer mean over the interactions. The users' free vectors are
    the same in all views.

    Loss: ``InfoNCE(pairs) + contrast * FAC + reg / 2 * ||all weights||^2``. The first term compares
    the batch's pairs by cosine. Its negatives are the batch's other items; the sampled negatives
    are not used.

    The paper has three self-supervised tasks: feature dropout (FD), feature masking (FM), and
    feature fine and coarse spaces (FAC). This is FAC, the default of the authors' code. Behavior
    and the first modality of the items are mapped into one space and contrasted there by dot
    product. The mapped behavior is mapped on into the next space, where it meets the next modality,
    and so on through any number of modalities, in the data set's order.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : SLMRecConfig, optional
        The model's settings; the defaults if None.

    See Also
    --------
    LightGCN : The propagation of each view.
    BM3 : Also trained without sampled negatives.
    MGCN : Also contrasts modalities with behavior.

    Notes
    -----
    As in the authors' code, which has image, audio and text or, for Kwai, only the image, the last
    of several spaces has half the width. MMRec's port skips the audio but keeps its linear map,
    which two modalities do not need.

    The gradient of the L2 penalty is that of the weight decay which the authors' code gives Adam.
    That code passes scores through a sigmoid, which gives the same ranking except where float32
    saturates. Here scores are dot products.

    Everything up to the fused vectors is linear, so all views together need one propagation of the
    free vectors. Features of moderate width are propagated once before training,
    ``(P F) W = P (F W)``, and a training step maps only the batch's rows of the result.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> model = SLMRec(planted(200, 100), SLMRec.Config(contrast=0.05))
    >>> [table.space for table in model.user_tables()]
    ['free']
    """

    citation = (
        "Tao et al., Self-Supervised Learning for Multimedia Recommendation, IEEE Transactions on "
        "Multimedia 25, 2023, https://doi.org/10.1109/TMM.2022.3187556"
    )
    fixed_shapes = True

    config: SLMRecConfig

    def __init__(self, dataset: Dataset, config: SLMRecConfig | None = None) -> None:
        super().__init__(dataset, config)
        width = self.config.width
        self.user_embedding = new_embedding(self.n_users, width)
        self.item_embedding = new_embedding(self.n_items, width)
        self.features = Features(dataset)
        for table in self.features:
            table.copy_(functional.normalize(table, dim=1))
        self.projections = nn.ModuleList(nn.Linear(f.shape[1], width) for f in self.features)
        n_modalities = len(self.features)
        self.user_fuser = nn.Linear(width * (1 + n_modalities), width)
        self.item_fuser = nn.Linear(width * (1 + n_modalities), width)
        spaces = [width] * n_modalities
        if n_modalities > 1:
            spaces[-1] = max(1, width // 2)
        self.behavior_maps = nn.ModuleList(nn.Linear(width, space) for space in spaces)
        self.modality_maps = nn.ModuleList(nn.Linear(width, space) for space in spaces)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        matrix = normalize_interactions(dataset.train_matrix())
        self.to_users, self.to_items = SparseGraph(matrix), SparseGraph(matrix.T)
        for position, table in enumerate(self.features):
            if is_narrow(table, width):
                constant = functional.pad(table, (0, 1), value=1.0)  # the bias's column
                items, users = self._propagate_items(constant)
                self.register_buffer(f"_users_{position}", users, False)
                self.register_buffer(f"_items_{position}", items, False)

    def _propagate_users(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Compute layer means of users and items if only `users` have vectors at first."""
        return _propagate_from(users, self.to_items, self.to_users, self.config.n_layers)

    def _propagate_items(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Compute layer means of items and users if only `items` have vectors at first."""
        return _propagate_from(items, self.to_users, self.to_items, self.config.n_layers)

    def _content(self, position: int, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what a modality's features contribute to the vectors of some users and items."""
        project = self.projections[position]
        table = self.features[position]
        if is_narrow(table, self.config.width):
            weight, bias = project.parameters()
            weights = torch.cat([weight, bias[:, None]], dim=1).T
            constants = self.get_buffer(f"_users_{position}"), self.get_buffer(f"_items_{position}")
            return constants[0][users] @ weights, constants[1][items] @ weights
        of_items, of_users = self._propagate_items(project(table))
        return of_users[users], of_items[items]

    def _views(self, users: Tensor, items: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Compute views of some users and items, ``(rows, width)``: behavior, then modalities."""
        to_users, to_items = self._propagate_users(self.user_embedding)
        to_users, to_items = to_users[users], to_items[items]
        of_items, of_users = self._propagate_items(self.item_embedding)
        parts = [(of_users[users], of_items[items])]
        parts += [self._content(position, users, items) for position in range(len(self.features))]
        return [to_users + part for part, _ in parts], [to_items + part for _, part in parts]

    @override
    def embed(self) -> tuple[Tensor, Tensor]:
        device = self.user_embedding.device
        users, items = self._views(
            torch.arange(self.n_users, device=device), torch.arange(self.n_items, device=device)
        )
        return self.user_fuser(torch.cat(users, dim=1)), self.item_fuser(torch.cat(items, dim=1))

    def _fine_and_coarse_loss(self, views: list[Tensor], items: Distinct) -> Tensor:
        """Compute the task FAC on views of the batch's distinct `items`."""
        behavior, *content = views
        loss = behavior.new_zeros(())
        for map_behavior, map_modality, view in zip(
            self.behavior_maps, self.modality_maps, content, strict=True
        ):
            behavior = map_behavior(behavior)
            scaled = map_modality(view) / self.config.contrast_temperature
            loss = loss + pair_info_nce_loss(behavior, scaled, items, items)
        return loss

    @override
    def loss(self, batch: Batch) -> Tensor:
        users, items = find_distinct(batch.users), find_distinct(batch.positives)
        user_views, item_views = self._views(users.nodes, items.nodes)
        final_users = functional.normalize(self.user_fuser(torch.cat(user_views, dim=1)), dim=1)
        final_items = functional.normalize(self.item_fuser(torch.cat(item_views, dim=1)), dim=1)
        main = pair_info_nce_loss(final_users / self.config.temperature, final_items, users, items)
        task = self._fine_and_coarse_loss(item_views, items)
        penalty = sum(weights.square().sum() for weights in self.parameters()) / 2
        return main + self.config.contrast * task + self.config.reg * penalty

    @override
    def user_tables(self) -> list[UserTable]:
        return [UserTable("user_embedding", self.user_embedding, "free", items=self.item_embedding)]


def pair_info_nce_loss(
    view: Tensor, other: Tensor, view_nodes: Distinct, other_nodes: Distinct
) -> Tensor:
    """Contrast a batch's pairs by dot product, each against the batch's other partners (InfoNCE).

    Each distinct row is passed once. That gives the same value and gradient as repeating it.

    Parameters
    ----------
    view, other : Tensor, shape (n, d) and (m, d)
        Vectors of the distinct nodes.
    view_nodes, other_nodes : Distinct
        The pairs: rows of `view` and of `other`, and how often the batch holds each.
    """
    positive = (view[view_nodes.rows] * other[other_nodes.rows]).sum()
    products = view @ other.T
    top = products.detach().amax(dim=1, keepdim=True)
    total = (products - top).exp() @ other_nodes.counts.to(view.dtype)
    normalizer = total.log() + top.squeeze(1)
    weighted = normalizer @ view_nodes.counts.to(view.dtype)
    return (weighted - positive) / len(view_nodes.rows)


def _propagate_from(
    x: Tensor, to_other: SparseGraph, to_own: SparseGraph, n_layers: int
) -> tuple[Tensor, Tensor]:
    """Compute LightGCN's layer means of both sides if only one side has vectors at first.

    A layer of a bipartite graph moves everything to the other side, so it needs half a product.
    """
    own, other = x, to_other(x)
    x = other
    for layer in range(1, n_layers):
        if layer % 2:
            x = to_own(x)
            own = own + x
        else:
            x = to_other(x)
            other = other + x
    return own / (n_layers + 1), other / (n_layers + 1)
