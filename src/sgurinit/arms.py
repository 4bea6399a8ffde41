"""The arms of a comparison: ways to start a model's users, all under one contract.

========================  ====================================================================
``random``                the model's own start
``sgurinit``              the method as its authors draw it: content alone, both sides
``local``, ``global``     its two halves alone, nothing else changed
``hybrid``                this library's own: content and collaborative columns
``collaborative``         control: the collaborative columns alone
``hybrid-shuffled``       control: ``hybrid`` with the content shuffled among the items
``permuted``              control: finished rows shuffled among the users and among the items
``random-scaled``         control: the model's own start at the norm of the started arms
========================  ====================================================================

Other readings of the method are ``sgurinit`` with settings, see `sgurinit.core.params.PRESETS`.
"""

from __future__ import annotations

import copy
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import scipy.sparse as sp
import torch
from class_resolver import ClassResolver
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import override

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.params import PARAMS, default
from sgurinit.handover import (
    TIMES,
    HandoverReport,
    Projected,
    bring_to_,
    freeze_,
    hand_over,
    refuse_freezing,
    refuse_through,
    refuse_unseen,
    untouched,
)
from sgurinit.seeds import derive, generator

logger = logging.getLogger("sgurinit")

if TYPE_CHECKING:
    from sgurinit.core.inputs.interactions import IntArray
    from sgurinit.data import Dataset
    from sgurinit.models import Recommender, UserTable

BASELINE = "random"
METHOD = "sgurinit"
CONTROL = "permuted"

_SCALE = "Mean row norm of a started table: so many times its own, 'table', 'items', or none."
_HANDOVER = {"scale", "fill_items", "projected", "freeze"}
_FILL_ITEMS = "Whether item tables in a free space start from the same items."


class _RecentStarts:
    """Starts computed last, up to so many bytes: the models of a comparison share them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: dict[Any, UserStart] = {}

    def get(self, key: Any) -> UserStart | None:
        return self._kept.get(key)

    def put(self, key: Any, start: UserStart) -> None:
        self._kept[key] = start
        while self._kept and sum(map(_size, self._kept.values())) > self.limit:
            del self._kept[next(iter(self._kept))]


def _size(start: UserStart) -> int:
    return sum(rows.nbytes for rows in start.users.values())


_RECENT = _RecentStarts(1 << 30)


class Initializer(BaseModel, ABC):
    """Starts the users of a freshly built model. Frozen; an unknown field is an error.

    A subclass implements `fill`. An initializer draws from random streams of its own, so whatever
    it does, training sees the same batches, negatives and samples.

    Attributes
    ----------
    name : str
        Name of the arm; that of the class by default.
    controls : str or None
        The arm that it is a control or a half of: what is set for that one holds for it too.
    fixed : frozenset of str
        Fields whose value makes the arm what it is; nothing sets them from outside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    controls: ClassVar[str | None] = None
    fixed: ClassVar[frozenset[str]] = frozenset()

    freeze: bool = Field(
        default=False,
        description="Keep user tables, and item tables of free spaces, as they start.",
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.removesuffix("Initializer").lower()

    def apply(self, model: Recommender, dataset: Dataset, *, seed: int) -> HandoverReport:
        """Start the users of `model` in place.

        Parameters
        ----------
        model : Recommender
            Freshly built for `dataset`.
        dataset : Dataset
            Its training interactions and features are read.
        seed : int
            The run's seed.

        Returns
        -------
        HandoverReport
            What was done to each table.

        Raises
        ------
        InputError
            A setting has no effect on this model, or nothing would be left to train.
        """
        self.check(model)
        report = self.fill(model, dataset, seed)
        if self.freeze:
            freeze_(model)
        return replace(report, initializer=self.name, frozen=self.freeze)

    def check(self, model: Recommender) -> None:
        """Refuse settings that have no effect on `model`, or leave it nothing to train.

        Raises
        ------
        InputError
            Naming the setting.
        """
        if self.freeze:
            refuse_freezing(model)

    @abstractmethod
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        """Fill the tables of `model` and report on it."""


class RandomInitializer(Initializer):
    """The model's own start, left as it is."""

    name = BASELINE

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        return HandoverReport(self.name, untouched(model.user_tables()))


class MethodInitializer(Initializer):
    """Settings of the method and of its hand-over, which the arm and its controls share."""

    n_clusters: int = Field(
        default=default("n_clusters"), ge=1, description=PARAMS["n_clusters"].text
    )
    local_weight: float = Field(
        default=default("local_weight"), ge=0, le=1, description=PARAMS["local_weight"].text
    )
    local_norm: Literal["mean", "sym"] = Field(
        default=default("local_norm"), description=PARAMS["local_norm"].text
    )
    collaborative: float = Field(
        default=default("collaborative"), ge=0, le=1, description=PARAMS["collaborative"].text
    )
    collaborative_rank: int | None = Field(
        default=default("collaborative_rank"),
        ge=1,
        description=PARAMS["collaborative_rank"].text,
    )
    preprocess: tuple[Literal["center", "unit", "whiten"], ...] = Field(
        default=default("preprocess"), description=PARAMS["preprocess"].text
    )
    scale: Literal["table", "items"] | Annotated[float, Field(gt=0, strict=True)] | None = Field(
        default=TIMES, description=_SCALE
    )
    fill_items: bool = Field(default=True, description=_FILL_ITEMS)
    projected: Projected = Field(
        default="once",
        description=(
            "Tables in a projected space: filled once, replaced by users who pass 'through' the "
            "projection in every step, or that 'added' to them."
        ),
    )

    @field_validator("preprocess")
    @classmethod
    def _reaches_a_table(cls, steps: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse an arm that would be the same without its steps."""
        if steps and info.data.get("collaborative"):
            raise PydanticCustomError(
                "no_effect",
                "no table sees these steps with collaborative above 0; set collaborative to 0 or "
                "leave them out",
            )
        return steps

    @field_validator("collaborative_rank")
    @classmethod
    def _has_columns(cls, rank: int | None, info: ValidationInfo) -> int | None:
        """Refuse a limit on columns that there are none of."""
        if rank is not None and not info.data.get("collaborative"):
            raise PydanticCustomError(
                "no_effect",
                "there are no collaborative columns with collaborative at 0; set that above 0, or "
                "this to none",
            )
        return rank

    @override
    def check(self, model: Recommender) -> None:
        super().check(model)
        refuse_through(model, self.projected)
        refuse_unseen(model.user_tables(), self.preprocess, self.collaborative)


class SGURInitInitializer(MethodInitializer):
    """The method as its authors draw it: content alone, items started from their features too."""

    name = METHOD

    def compute_start(self, dataset: Dataset, seed: int) -> UserStart:
        """Compute the start that is handed over.

        Parameters
        ----------
        dataset : Dataset
            Its training interactions and features are read.
        seed : int
            The run's seed.

        Returns
        -------
        UserStart
        """
        own = self.model_dump_json(exclude=_HANDOVER)
        key = (type(self), own, dataset.fingerprint, seed)
        start = _RECENT.get(key)
        if start is None:
            method = {name: getattr(self, name) for name in PARAMS if hasattr(self, name)}
            estimator = SGURInit(**method, random_state=derive(seed, "clusters"))
            features = self._features(dataset, seed)
            start = estimator.fit(self._interactions(dataset, seed), features).start_
            _RECENT.put(key, start)
        return start

    def _interactions(self, dataset: Dataset, seed: int) -> sp.csr_array:  # noqa: ARG002
        """Interactions that the start is fitted on; a control may shuffle them."""
        return dataset.train_matrix()

    def _features(self, dataset: Dataset, seed: int) -> dict[str, ItemFeatures]:  # noqa: ARG002
        """Features that the start is fitted on; a control may shuffle them."""
        return dict(dataset.features)

    def _tables(self, model: Recommender, seed: int) -> list[UserTable]:  # noqa: ARG002
        """Tables to fill; a control may shuffle the features that go with them."""
        return model.user_tables()

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        start = self.compute_start(dataset, seed)
        facts = start.diagnostics
        logger.info(
            "start: %d of %d users without a training interaction begin at the mean of the "
            "centroids weighted by popularity",
            facts.users_without_interactions,
            facts.n_users,
        )
        tables = hand_over(
            model,
            start,
            scale=self.scale,
            fill_items=self.fill_items,
            projected=self.projected,
            tables=self._tables(model, seed),
        )
        return HandoverReport(self.name, tables, facts.to_dict())


class LocalInitializer(SGURInitInitializer):
    """The local half of ``sgurinit`` alone: the mean of a user's items."""

    name = "local"
    controls = METHOD
    fixed = frozenset({"local_weight"})

    local_weight: float = Field(default=1.0, ge=1, le=1, description="Fixed.")


class GlobalInitializer(SGURInitInitializer):
    """The global half of ``sgurinit`` alone: the mean of the centroids of a user's items."""

    name = "global"
    controls = METHOD
    fixed = frozenset({"local_weight"})

    local_weight: float = Field(default=0.0, ge=0, le=0, description="Fixed.")


class PermutedInitializer(SGURInitInitializer):
    """Control: finished rows shuffled among the users, and items' among the items.

    Norms and distribution are the same, the meaning is gone. Shuffling the rows of the
    interactions before the fit shuffles the rows of every start in every space alike. Item tables
    are shuffled where the start filled them.
    """

    name = CONTROL
    controls = METHOD

    @override
    def _interactions(self, dataset: Dataset, seed: int) -> sp.csr_array:
        order = generator(seed, "permutation").permutation(dataset.n_users)
        return sp.csr_array(dataset.train_matrix()[order])

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        report = super().fill(model, dataset, seed)
        order = torch.from_numpy(generator(seed, "items").permutation(dataset.n_items))
        for table, found in zip(model.user_tables(), report.tables, strict=True):
            if found.items_filled and table.items is not None:
                with torch.no_grad():
                    table.items.copy_(table.items[order.to(table.items.device)])
        return report


class RandomScaledInitializer(MethodInitializer):
    """Control: the model's own random start at the norm that the started arm has.

    ``sgurinit`` with the same settings is handed over to a copy of the model, and every table that
    it filled is brought to the mean row norm that it has there. Tables that users enter through a
    projection stay as they are.
    """

    name = "random-scaled"
    controls = METHOD

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        tables, before = model.user_tables(), untouched(model.user_tables())
        twin = copy.deepcopy(model)
        report = SGURInitInitializer(**self.model_dump()).fill(twin, dataset, seed)
        for table, started, found in zip(tables, twin.user_tables(), report.tables, strict=True):
            if found.projected in {None, "once"}:
                bring_to_(table.parameter, started.parameter)
            if found.items_filled and table.items is not None and started.items is not None:
                bring_to_(table.items, started.items)
        after = untouched(tables)
        reports = (
            replace(new, norm_before=old.norm_before)
            for new, old in zip(after, before, strict=True)
        )
        return HandoverReport(self.name, tuple(reports))


class HybridInitializer(SGURInitInitializer):
    """The library's own: half of the joint space's columns are collaborative, at most 32."""

    name = "hybrid"

    local_weight: float = Field(
        default=default("local_weight", "hybrid"),
        ge=0,
        le=1,
        description=PARAMS["local_weight"].text,
    )
    collaborative: float = Field(
        default=default("collaborative", "hybrid"),
        ge=0,
        le=1,
        description=PARAMS["collaborative"].text,
    )
    collaborative_rank: int | None = Field(
        default=default("collaborative_rank", "hybrid"),
        ge=1,
        validate_default=True,
        description=PARAMS["collaborative_rank"].text,
    )


class CollaborativeInitializer(HybridInitializer):
    """Control: the collaborative columns of ``hybrid`` alone, as many as that has.

    With ``collaborative=1`` and ``collaborative_rank=None`` they fill the width of the table.
    """

    name = "collaborative"
    controls = "hybrid"
    fixed = frozenset({"content"})

    content: Literal[False] = Field(default=False, description="Fixed.")


class HybridShuffledInitializer(HybridInitializer):
    """Control: ``hybrid`` with the content shuffled among the items before anything else.

    The collaborative columns stay true. Every modality has the same order; the model's own
    features stay as they are, but what a start takes from them is shuffled alike.
    """

    name = "hybrid-shuffled"
    controls = "hybrid"

    def _order(self, n_items: int, seed: int) -> IntArray:
        return generator(seed, "content").permutation(n_items)

    @override
    def _features(self, dataset: Dataset, seed: int) -> dict[str, ItemFeatures]:
        order = self._order(dataset.n_items, seed)
        return {
            name: ItemFeatures(
                table.values[order], None if table.present is None else table.present[order]
            )
            for name, table in dataset.features.items()
        }

    @override
    def _tables(self, model: Recommender, seed: int) -> list[UserTable]:
        order = torch.from_numpy(self._order(model.n_items, seed))
        return [
            table
            if table.features is None
            else replace(table, features=table.features[order.to(table.features.device)])
            for table in model.user_tables()
        ]


arm_resolver: ClassResolver[Initializer] = ClassResolver.from_subclasses(
    Initializer,  # type: ignore[type-abstract]
    exclude_predicate=inspect.isabstract,
)


def arm_names() -> Sequence[str]:
    """Names of the arms, in alphabetical order."""
    return sorted(arm.name for arm in arm_resolver)
