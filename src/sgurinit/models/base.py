"""What every recommender of the zoo is: a module, a frozen config, a loss and two tables."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

if TYPE_CHECKING:
    from sgurinit.data import Dataset

Space = Literal["free", "raw", "projected"]
SearchSpace = Mapping[str, tuple[Any, ...]]


class RecommenderConfig(BaseModel):
    """Hyper-parameters that every model has. Frozen; an unknown field is an error.

    A model's config declares in `search_space` the values of each field that its paper, or its
    authors' code, chooses from on validation data; the default is among them.
    """

    search_space: ClassVar[SearchSpace]

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int = Field(default=64, ge=1, description="Width of user and item vectors.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's step size.")
    learning_rate_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the step size per 50 epochs, applied smoothly every epoch.",
    )


class Batch(NamedTuple):
    """Training triples: `users[b]` interacted with `positives[b]`, not with `negatives[b]`.

    Each is an int64 tensor of shape ``(batch,)``.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class UserTable:
    """One table of user vectors that a start may fill, and the space that it lives in.

    Attributes
    ----------
    name : str
        Name of the parameter in the model, with dots.
    parameter : Parameter, shape (n_users, width)
        The table.
    space : {"free", "raw", "projected"}
        ``"free"``: a space of the model's own; ``"raw"``: a modality's own features;
        ``"projected"``: the space into which the model maps a modality.
    modality : str, optional
        The modality of a raw or projected space.
    features : Tensor, shape (n_items, d_m), optional
        For a raw or projected space: the items' features as the model reads them.
    project : callable, optional
        For a projected space: the model's map from rows of features, ``(n, d_m)``, to rows of the
        space, ``(n, width)``, at its present weights. None where `features` are mapped already.
    items : Parameter, shape (n_items, width), optional
        For a free space: the item table that shares it, if there is one.
    """

    name: str
    parameter: nn.Parameter
    space: Space
    modality: str | None = None
    features: Tensor | None = None
    project: Callable[[Tensor], Tensor] | None = None
    items: nn.Parameter | None = None

    def item_vectors(self) -> Tensor | None:
        """Items' vectors in the space, ``(n_items, width)``; None where there are none."""
        if self.space == "free":
            return self.items
        if self.features is None or self.project is None:
            return self.features
        return self.project(self.features)


class Recommender(nn.Module, ABC):
    """A recommender whose score of an item for a user is the dot product of two vectors.

    A subclass states its paper in `citation`, annotates `config` with its own config class, and
    implements `embed`, `loss` and `user_tables`. Its constructor takes a data set and a config and
    draws the initial weights from torch's global generator.

    Parameters
    ----------
    dataset
        What to learn from; only its training interactions and features are read.
    config
        The model's settings; its defaults where None.
    """

    Config: ClassVar[type[RecommenderConfig]] = RecommenderConfig
    citation: ClassVar[str]
    config: RecommenderConfig

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        annotations = inspect.get_annotations(cls, eval_str=True)
        if "config" in annotations:
            cls.Config = annotations["config"]

    def __init__(self, dataset: Dataset, config: RecommenderConfig | None = None) -> None:
        super().__init__()
        self.n_users = dataset.n_users
        self.n_items = dataset.n_items
        self.config = config if config is not None else self.Config()
        if not isinstance(self.config, self.Config):
            raise TypeError(
                f"{type(self).__name__} takes a {self.Config.__qualname__}, "
                f"not a {type(self.config).__qualname__}"
            )

    @abstractmethod
    def embed(self) -> tuple[Tensor, Tensor]:
        """Final user vectors ``(n_users, d)`` and item vectors ``(n_items, d)``."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Training loss of one batch, a scalar."""

    @abstractmethod
    def user_tables(self) -> list[UserTable]:
        """The tables of user vectors that a start fills."""

    def start_epoch(self, seed: int) -> None:
        """Prepare for an epoch, for example sample a graph, with a generator seeded by `seed`."""

    @torch.no_grad()
    def scorer(self) -> Callable[[Tensor], Tensor]:
        """Freeze the model's present vectors into a function from users to item scores.

        Returns
        -------
        callable
            Takes user positions ``(b,)``, gives scores of all items ``(b, n_items)``.
        """
        was_training = self.training
        self.eval()
        users, items = self.embed()
        self.train(was_training)
        transposed = items.T.contiguous()
        return lambda wanted: users[wanted] @ transposed


def embedding(rows: int, width: int) -> nn.Parameter:
    """Free table of vectors, Xavier uniform, as the papers of this field start them."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, width)))


def joint_tables(n_users: int, n_items: int, width: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Tables of users and of items, Xavier normal, at the scale of one table of them all.

    Xavier's scale falls with the number of rows, so two tables drawn apart would start larger.
    """
    joint = nn.init.xavier_normal_(torch.empty(n_users + n_items, width))
    users, items = joint.split([n_users, n_items])
    return nn.Parameter(users.clone()), nn.Parameter(items.clone())
