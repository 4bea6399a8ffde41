"""The arms of a comparison: ways to start a model's users, all under one contract."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import scipy.sparse as sp
import torch
from class_resolver import ClassResolver
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import override

from sgurinit.core import SGURInit, UserStart
from sgurinit.handover import TIMES, HandoverReport, Items, hand_over, untouched
from sgurinit.seeds import derive, generator

logger = logging.getLogger("sgurinit")

if TYPE_CHECKING:
    from sgurinit.data import Dataset
    from sgurinit.models import Recommender


LocalNorm = Literal["mean", "sym"]
Prepare = tuple[Literal["center", "unit", "whiten"], ...]
Scaled = Literal["table", "items"] | Annotated[float, Field(gt=0, strict=True)] | None


class Initialiser(BaseModel, ABC):
    """Fills a freshly built model's user tables. Frozen; an unknown field is an error.

    An initialiser draws from streams of its own, so whatever it does, training sees the same
    batches, negatives and samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __call__(self, model: Recommender, dataset: Dataset, *, seed: int) -> HandoverReport:
        """Start the users of `model`, which was built for `dataset`, and report on it."""
        return self.fill(model, dataset, seed)

    @abstractmethod
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        """Fill the tables and report on it."""


class RandomInitialiser(Initialiser):
    """The model's own start, left as it is."""

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        return HandoverReport(type(self).__name__, untouched(model.user_tables()))


class SGURInitInitialiser(Initialiser):
    """The method with the library's defaults: local and global sums of what items are, mixed."""

    n_clusters: int = Field(default=8, ge=1, description="Clusters per modality, K.")
    mix: float = Field(default=0.9, ge=0, le=1, description="Weight of the local part, lambda.")
    local_norm: LocalNorm = Field(
        default="mean", description="Weights of the local part: plain mean or symmetric."
    )
    collaborative: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of a free space's columns that tell who uses an item, not what it is.",
    )
    prepare: Prepare = Field(
        default=(),
        description=(
            "What is done to the features first, in order. Tables in a raw space alone see it, and "
            "only with `collaborative` at 0: a free space has the joint reduction's own "
            "preparation, a projected one the model's."
        ),
    )
    scale: Scaled = Field(
        default=TIMES,
        description=(
            "Mean row norm to match: the table's own, the items', none, or so many times its own."
        ),
    )
    items: Items = Field(
        default="features",
        description="Whether item tables in a free space start from the features too.",
    )

    @field_validator("prepare")
    @classmethod
    def _reaches_a_table(cls, steps: Prepare, info: ValidationInfo) -> Prepare:
        """Refuse an arm that would be the same without its steps."""
        if steps and info.data.get("collaborative"):
            raise PydanticCustomError(
                "no_effect",
                "no table sees these steps with collaborative above 0; set collaborative to 0 or "
                "leave them out",
            )
        return steps

    def start(self, dataset: Dataset, seed: int) -> UserStart:
        """Compute the start that will be handed over."""
        return self._fit(dataset.train_matrix(), dataset, seed)

    def _fit(self, interactions: sp.csr_array, dataset: Dataset, seed: int) -> UserStart:
        estimator = SGURInit(
            n_clusters=self.n_clusters,
            mix=self.mix,
            local_norm=self.local_norm,
            prepare=self.prepare,
            collaborative=self.collaborative,
            random_state=derive(seed, "clusters"),
        )
        return estimator.fit(interactions, dataset.features).start_

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        start = self.start(dataset, seed)
        facts = start.diagnostics
        logger.info(
            "start: %d of %d users without a training interaction begin at the mean of the "
            "centroids weighted by popularity",
            facts.users_without_interactions,
            facts.n_users,
        )
        tables = hand_over(model, start, scale=self.scale, items=self.items)
        return HandoverReport(type(self).__name__, tables, facts.to_dict())


class PermutedInitialiser(SGURInitInitialiser):
    """Control: SG-URInit's rows shuffled among the users, and items' among the items.

    Norms and distribution are the same, the meaning is gone. Shuffling the rows of the
    interactions before the fit shuffles the rows of every start in every space alike. Item tables
    are shuffled where the start filled them.
    """

    @override
    def start(self, dataset: Dataset, seed: int) -> UserStart:
        order = generator(seed, "permutation").permutation(dataset.n_users)
        return self._fit(dataset.train_matrix()[order], dataset, seed)

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        report = super().fill(model, dataset, seed)
        order = torch.from_numpy(generator(seed, "items").permutation(dataset.n_items))
        for table, found in zip(model.user_tables(), report.tables, strict=True):
            if found.items_filled and table.items is not None:
                with torch.no_grad():
                    table.items.copy_(table.items[order.to(table.items.device)])
        return report


class PaperInitialiser(SGURInitInitialiser):
    """The method as the paper is reported to set it: users alone, from what their items are."""

    n_clusters: int = Field(default=8, ge=1, description="Clusters per modality, K.")
    mix: float = Field(default=0.1, ge=0, le=1, description="Weight of the local part, lambda.")
    local_norm: LocalNorm = Field(default="sym", description="Weights of the local part.")
    prepare: Prepare = Field(default=(), description="What is done to the features first.")
    collaborative: float = Field(default=0.0, ge=0, le=1, description="None: content alone.")
    scale: Scaled = Field(default="table", description="Mean row norm to match.")
    items: Items = Field(default="random", description="Item tables stay random.")


class LocalInitialiser(SGURInitInitialiser):
    """The local half alone (lambda = 1)."""

    mix: float = Field(default=1.0, ge=1, le=1, description="Fixed.")


class GlobalInitialiser(SGURInitInitialiser):
    """The global half alone (lambda = 0)."""

    mix: float = Field(default=0.0, ge=0, le=0, description="Fixed.")


initialisers: ClassResolver[Initialiser] = ClassResolver.from_subclasses(
    Initialiser  # type: ignore[type-abstract]
)


def arm_names() -> Sequence[str]:
    """Names that the resolver knows, in alphabetical order."""
    return sorted(initialisers.options)
