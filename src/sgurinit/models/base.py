"""The contract of a recommender: a torch module with a frozen config, a loss and user tables."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from sgurinit.core.params import MAX_WIDTH
from sgurinit.fields import Settings
from sgurinit.models._config_docs import document_fields
from sgurinit.models.blocks.dense import prepare_product

if TYPE_CHECKING:
    from sgurinit.data import Dataset

TableSpace = Literal["free", "raw", "projected"]
SearchSpace = Mapping[str, tuple[Any, ...]]


class RecommenderConfig(Settings):
    """Hyper-parameters that every model has. Frozen; unknown fields are an error.

    Each model has a subclass with its own fields. Its ``search_space`` lists the values of each
    field that the paper, or its authors' code, chooses from on validation data. The default is one
    of them.

    Parameters
    ----------
    width : int in [1, 65536], default 64
        Width of user and item vectors.
    learning_rate : float > 0, default 0.001
        Adam's step size.
    learning_rate_decay : float in (0, 1], default 1.0
        Factor on the step size per 50 epochs, applied smoothly every epoch.

    See Also
    --------
    sgurinit.training.TrainSettings : Settings of a run that do not belong to a model.

    Examples
    --------
    >>> from sgurinit.models import LightGCN
    >>> LightGCN.Config(width=32).n_layers
    2
    >>> LightGCN.Config.search_space["n_layers"]
    (1, 2, 3, 4)
    """

    search_space: ClassVar[SearchSpace]

    width: int = Field(
        default=64, ge=1, le=MAX_WIDTH, description="Width of user and item vectors."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's step size.")
    learning_rate_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the step size per 50 epochs, applied smoothly every epoch.",
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        summary = inspect.cleandoc(cls.__doc__ or "Settings of a model.")
        cls.__doc__ = f"{summary}\n\n{document_fields(cls)}\n"


class Batch(NamedTuple):
    """Training triples: user ``users[b]`` interacted with ``positives[b]``, not ``negatives[b]``.

    Attributes
    ----------
    users, positives, negatives : Tensor of int64, shape (batch,)
        Positions of users and items.

    See Also
    --------
    Recommender.loss : Takes a batch.
    sgurinit.training.sampler.TripleSampler : Draws batches.

    Examples
    --------
    >>> import torch
    >>> Batch(torch.tensor([0, 1]), torch.tensor([3, 4]), torch.tensor([5, 3])).negatives
    tensor([5, 3])
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor


@dataclass(frozen=True)
class UserTable:
    """A table of user vectors that a start can fill, and the space that it lives in.

    Parameters
    ----------
    name : str
        Name of the parameter in the model, with dots.
    parameter : Parameter, shape (n_users, width)
        The table.
    space : {"free", "raw", "projected"}
        ``"free"``: a space of the model's own. ``"raw"``: a modality's features as they are.
        ``"projected"``: the space into which the model maps a modality.
    modality : str, optional
        The modality of a raw or projected space.
    features : Tensor, shape (n_items, d_m), optional
        For a raw or projected space: the items' features as the model reads them.
    project : callable, optional
        For a projected space: the model's map from rows of features, ``(n, d_m)``, to rows of the
        space, ``(n, width)``, at its present weights. None if `features` are mapped already.
    items : Parameter, shape (n_items, width), optional
        For a free space: the item table in the same space, if there is one.

    See Also
    --------
    Recommender.user_tables : Returns a model's tables.
    sgurinit.hand_over : Fills them from a start.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> for table in VBPR(planted(200, 100)).user_tables():
    ...     print(table.name, table.space, table.modality)
    user_embedding free None
    user_content.0 projected image
    user_content.1 projected text
    """

    name: str
    parameter: nn.Parameter
    space: TableSpace
    modality: str | None = None
    features: Tensor | None = None
    project: Callable[[Tensor], Tensor] | None = None
    items: nn.Parameter | None = None

    def item_vectors(self) -> Tensor | None:
        """Return the items' vectors in the space, ``(n_items, width)``, or None without any."""
        if self.space == "free":
            return self.items
        if self.features is None or self.project is None:
            return self.features
        return self.project(self.features)


class Recommender(nn.Module, ABC):
    """Base class of all models: the score of an item for a user is a dot product of two vectors.

    A subclass states its paper in ``citation``, annotates ``config`` with its own config class and
    implements `embed`, `loss` and `user_tables`. Its constructor takes a data set and a config and
    draws the initial weights from torch's global generator.

    Parameters
    ----------
    dataset : Dataset
        Only its training interactions and features are read.
    config : RecommenderConfig, optional
        The model's settings, an instance of the class's ``Config``. Its defaults if None.

    Attributes
    ----------
    Config : type
        The model's config class (class attribute).
    citation : str
        Authors, title, venue and link of the paper (class attribute).
    fixed_shapes : bool
        Whether the training steps of a run differ only in what their tensors hold (class attribute,
        False by default, not inherited). `loss` then does the same operations on tensors of the
        same shapes for all batches of a size, does not wait for the device, and reads no tensor
        that `begin_epoch` replaces instead of overwriting. On a CUDA device, such a step is
        recorded and replayed.
    n_other_steps : int
        Number of steps at the beginning of an epoch to which that does not apply (class attribute,
        0 by default).
    config : RecommenderConfig
        The settings in use.
    n_users, n_items : int
        Sizes of the data set.

    Raises
    ------
    TypeError
        `config` is of another model's class.
    InputError
        The model reads features and `dataset` has none.

    See Also
    --------
    sgurinit.train : Builds, initializes and trains a model.
    sgurinit.testing.RecommenderTests : The tests that every model should pass, yours too.

    Examples
    --------
    >>> import torch
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> dataset = planted(200, 100)
    >>> model = LightGCN(dataset, LightGCN.Config(width=16))
    >>> [table.name for table in model.user_tables()]
    ['user_embedding']
    >>> score = model.make_scorer()
    >>> score(torch.tensor([0, 7])).shape
    torch.Size([2, 100])
    """

    Config: ClassVar[type[RecommenderConfig]] = RecommenderConfig
    citation: ClassVar[str]
    fixed_shapes: ClassVar[bool] = False
    n_other_steps: ClassVar[int] = 0
    config: RecommenderConfig

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "fixed_shapes" not in vars(cls):
            cls.fixed_shapes = False
        config = inspect.get_annotations(cls).get("config")
        if isinstance(config, str):
            # Only this one: the names of others may be imported for type checkers alone.
            config = eval(config, vars(sys.modules[cls.__module__]), dict(vars(cls)))  # noqa: S307
        if config is not None:
            cls.Config = config

    def __init__(self, dataset: Dataset, config: RecommenderConfig | None = None) -> None:
        super().__init__()
        self.n_users = dataset.n_users
        self.n_items = dataset.n_items
        self.config = config if config is not None else self.Config()
        if not isinstance(self.config, self.Config):
            raise TypeError(
                f"config: {type(self).__name__} takes a {self.Config.__qualname__}, "
                f"not a {type(self.config).__qualname__}"
            )

    @abstractmethod
    def embed(self) -> tuple[Tensor, Tensor]:
        """Compute final user vectors ``(n_users, d)`` and item vectors ``(n_items, d)``."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Compute the training loss of one batch, a scalar."""

    @abstractmethod
    def user_tables(self) -> list[UserTable]:
        """List the tables of user vectors that a start fills."""

    def begin_epoch(self, seed: int) -> None:
        """Prepare for an epoch, for example sample a graph. By default nothing happens.

        Parameters
        ----------
        seed : int
            Seed of everything random in the preparation.
        """

    @torch.no_grad()
    def make_scorer(self) -> Callable[[Tensor], Tensor]:
        """Make a function from users to item scores, with the model's present vectors.

        Make it again after a training step.

        Returns
        -------
        callable
            Takes user positions ``(b,)`` on any device and returns the scores of all items,
            ``(b, n_items)``.
        """
        was_training = self.training
        self.eval()
        users, items = (vectors.detach() for vectors in self.embed())
        self.train(was_training)
        score = prepare_product(items)
        return lambda positions: score(users[positions.to(users.device)])


def new_embedding(n_rows: int, width: int) -> nn.Parameter:
    """Create a free table of vectors, Xavier uniform, the usual initialization in this field."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_rows, width)))


def new_joint_embeddings(
    n_users: int, n_items: int, width: int
) -> tuple[nn.Parameter, nn.Parameter]:
    """Create tables of users and items, Xavier normal, with the scale of one joint table.

    Xavier's scale falls with the number of rows, so two separate tables would have larger values.
    """
    joint = nn.init.xavier_normal_(torch.empty(n_users + n_items, width))
    users, items = joint.split([n_users, n_items])
    return nn.Parameter(users.clone()), nn.Parameter(items.clone())
