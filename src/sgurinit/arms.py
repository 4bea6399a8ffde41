"""The arms of a comparison: initializers of a model's users with one common interface.

========================  ====================================================================
``random``                baseline: the model's own random values
``sgurinit``              the method as its authors describe it: content only, users and items
``local``, ``global``     one half of the method each, nothing else changed
``hybrid``                this library's extension: content and who uses the items
``collaborative``         control: ``hybrid`` without content
``hybrid-shuffled``       control: ``hybrid`` with the content shuffled among the items
``permuted``              control: finished rows shuffled among the users and among the items
``random-scaled``         control: the model's own random values at the norm of ``sgurinit``
========================  ====================================================================

Other variants of the method are ``sgurinit`` with settings, see `sgurinit.core.params.PRESETS`.
"""

from __future__ import annotations

import copy
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import scipy.sparse as sp
import torch
from class_resolver import ClassResolver
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import override

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.inputs.training_data import require_features
from sgurinit.core.params import COLLABORATIVE_SETTINGS, PARAMS, get_default
from sgurinit.fields import Settings
from sgurinit.handover import (
    DEFAULT_SCALE,
    HandoverReport,
    ProjectedMode,
    TableReport,
    Target,
    check_freezable,
    check_preprocess,
    check_projected,
    freeze_,
    hand_over,
    match_norm_,
    report_unchanged,
)
from sgurinit.seeds import derive_seed, make_generator

logger = logging.getLogger("sgurinit")

if TYPE_CHECKING:
    from sgurinit.core.inputs.arrays import IntArray
    from sgurinit.data import Dataset
    from sgurinit.models import Recommender, UserTable

BASELINE = "random"
"""Name of the arm that every other arm is compared with."""
METHOD = "sgurinit"
"""Name of the arm that is the method."""
CONTROL = "permuted"
"""Name of the arm that controls for the meaning of the method's rows."""

_ScaleSetting: TypeAlias = (
    Literal["table", "items"] | Annotated[float, Field(gt=0, strict=True)] | None
)
_SCALE_TEXT = (
    "Mean row norm of a filled table: a multiple of that of its random rows, 'table', 'items', or "
    "none."
)
_FILL_ITEMS_TEXT = "Also fill item tables in a free space, from the same items."
_PROJECTED_TEXT = (
    "How tables in a projected space are filled: 'once', replaced by users who pass 'through' the "
    "projection in every step, or with those 'added' to the table."
)
_TARGET_TEXT = (
    "What becomes the start: the 'tables', or the 'vectors' that the model scores with, where they "
    "depend linearly on the tables."
)
_HANDOVER_FIELDS = {"scale", "fill_items", "projected", "target", "freeze"}


class _RecentStarts:
    """The most recent starts, up to `limit` bytes. The models of a comparison share them."""

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


class Initializer(Settings, ABC):
    """Initializes the users of a freshly built model. Frozen; unknown fields are an error.

    A subclass implements `fill`. An initializer has its own random streams, so training sees the
    same batches, negatives and samples with every initializer.

    Parameters
    ----------
    freeze : bool, default False
        Exclude user tables, and item tables that share a free space, from training.

    Attributes
    ----------
    name : str
        Name of the arm. By default the class name in lower case without ``Initializer``.
    controls : str or None
        The arm that this one is a control or a half of. Settings of that arm also apply to it.
    fixed : frozenset of str
        Fields that define the arm and cannot be set.

    See Also
    --------
    SGURInitInitializer : The method.
    sgurinit.train : Trains a model with an initializer.

    Examples
    --------
    >>> from sgurinit.arms import arm_names
    >>> from sgurinit.resolve import resolve_initializer
    >>> "hybrid" in arm_names()
    True
    >>> resolve_initializer("hybrid", {"n_clusters": 4}).n_clusters
    4
    """

    name: ClassVar[str]
    controls: ClassVar[str | None] = None
    fixed: ClassVar[frozenset[str]] = frozenset()

    freeze: bool = Field(
        default=False,
        description="Exclude user tables, and item tables of free spaces, from training.",
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.removesuffix("Initializer").lower()

    def apply(self, model: Recommender, dataset: Dataset, *, seed: int) -> HandoverReport:
        """Initialize the users of `model`, in place.

        Parameters
        ----------
        model : Recommender
            Freshly built for `dataset`.
        dataset : Dataset
            The data set. Only its training interactions and features are read.
        seed : int
            Seed of the run.

        Returns
        -------
        HandoverReport
            What was done to each table.

        Raises
        ------
        InputError
            A setting has no effect on this model, or the model would have nothing left to train.
        """
        self.check(model)
        report = self.fill(model, dataset, seed)
        if self.freeze:
            freeze_(model)
        return replace(report, initializer=self.name, frozen=self.freeze)

    def check(self, model: Recommender) -> None:
        """Refuse settings that have no effect on `model`, or leave it nothing to train.

        Parameters
        ----------
        model : Recommender
            A freshly built model.

        Raises
        ------
        InputError
            Names the setting.
        """
        if self.freeze:
            check_freezable(model)

    @abstractmethod
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        """Fill the tables of `model`, in place.

        Parameters
        ----------
        model : Recommender
            Freshly built for `dataset`.
        dataset : Dataset
            The data set. Only its training interactions and features may be read.
        seed : int
            Seed of the run.

        Returns
        -------
        HandoverReport
            What was done to each table.
        """


class RandomInitializer(Initializer):
    """Baseline: the model's own random values.

    Parameters
    ----------
    scale : float > 0, default 1.0
        Factor on the values of every user table, and of the item table that shares a free space.
        At 1.0 the model keeps the values as they are.
    freeze : bool, default False
        Exclude user tables, and item tables that share a free space, from training.

    See Also
    --------
    RandomScaledInitializer : The same values at the norms that ``sgurinit`` gives the tables.

    Examples
    --------
    >>> from sgurinit.arms import RandomInitializer
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> data = planted(200, 100)
    >>> (table,) = RandomInitializer().apply(LightGCN(data), data, seed=0).tables
    >>> table.norm_after == table.norm_before
    True
    """

    name = BASELINE

    scale: Annotated[float, Field(gt=0, strict=True)] = Field(
        default=1.0, description="Factor on the model's own random values."
    )

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        tables = model.user_tables()
        before = report_unchanged(tables)
        for table in tables:
            for rows in (table.parameter, table.items):
                if rows is not None:
                    rows.data.mul_(self.scale)
        return HandoverReport(self.name, _set_norms_before(report_unchanged(tables), before))


def _set_norms_before(
    after: Sequence[TableReport], before: Sequence[TableReport]
) -> tuple[TableReport, ...]:
    """Report on random tables that were rescaled."""
    pairs = zip(after, before, strict=True)
    return tuple(replace(new, norm_before=old.norm_before) for new, old in pairs)


class MethodInitializer(Initializer):
    """Settings of the method and of the hand-over that ``sgurinit`` and its controls share."""

    n_clusters: int = Field(
        default=get_default("n_clusters"), ge=1, description=PARAMS["n_clusters"].text
    )
    local_weight: float = Field(
        default=get_default("local_weight"), ge=0, le=1, description=PARAMS["local_weight"].text
    )
    local_norm: Literal["mean", "sym"] = Field(
        default=get_default("local_norm"), description=PARAMS["local_norm"].text
    )
    collaborative: bool = Field(
        default=get_default("collaborative"), description=PARAMS["collaborative"].text
    )
    content_weight: float | None = Field(
        default=get_default("content_weight"), ge=0, description=PARAMS["content_weight"].text
    )
    penalty: float | None = Field(
        default=get_default("penalty"), gt=0, description=PARAMS["penalty"].text
    )
    collaborative_rank: int | None = Field(
        default=get_default("collaborative_rank"),
        ge=1,
        description=PARAMS["collaborative_rank"].text,
    )
    preprocess: tuple[Literal["center", "unit", "whiten"], ...] = Field(
        default=get_default("preprocess"), description=PARAMS["preprocess"].text
    )
    scale: _ScaleSetting = Field(default=DEFAULT_SCALE, description=_SCALE_TEXT)
    fill_items: bool = Field(default=True, description=_FILL_ITEMS_TEXT)
    projected: ProjectedMode = Field(
        default="once",
        description=_PROJECTED_TEXT,
    )
    target: Target = Field(default="tables", description=_TARGET_TEXT)

    @field_validator("preprocess")
    @classmethod
    def _reaches_a_table(cls, steps: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse steps that have no effect."""
        if steps and info.data.get("collaborative"):
            raise PydanticCustomError(
                "no_effect",
                "no table sees these steps with collaborative; set collaborative to false or leave "
                "the steps out",
            )
        return steps

    @field_validator(*COLLABORATIVE_SETTINGS)
    @classmethod
    def _has_effect(cls, value: float | None, info: ValidationInfo) -> float | None:
        """Refuse settings of a collaborative joint space where the arm has none."""
        if value is not None and not info.data.get("collaborative"):
            raise PydanticCustomError(
                "no_effect",
                "this has no effect without collaborative; set collaborative to true, or this "
                "field to none",
            )
        return value

    @override
    def check(self, model: Recommender) -> None:
        super().check(model)
        check_projected(model, self.projected)
        check_preprocess(model.user_tables(), self.preprocess, self.collaborative)


class SGURInitInitializer(MethodInitializer):
    """The method as its authors describe it: content only, item tables filled from features too.

    Parameters
    ----------
    n_clusters : int >= 1, default 8
        Clusters per modality, see `sgurinit.SGURInit`; so are the next seven.
    local_weight : float in [0, 1]
        Weight of the local part.
    local_norm : {"mean", "sym"}, default "mean"
        Weights of the items in the local part.
    collaborative : bool, default False
        Whether the joint space also describes items by who uses them.
    content_weight, penalty : float or None, default None
        Settings of a collaborative joint space; None: chosen on held-out interactions.
    collaborative_rank : int >= 1 or None, default None
        Directions of the interactions that a collaborative joint space is computed from.
    preprocess : sequence of {"center", "unit", "whiten"}, default ()
        Steps applied to each modality's features first.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`; so are the next three.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.
    projected : {"once", "through", "added"}, default "once"
        How tables in a projected space are filled.
    target : {"tables", "vectors"}, default "tables"
        What becomes the start.
    freeze : bool, default False
        Exclude user tables, and item tables that share a free space, from training.

    See Also
    --------
    HybridInitializer : The library's extension with a collaborative joint space.
    PermutedInitializer : The control for this arm.

    Examples
    --------
    >>> from sgurinit.arms import SGURInitInitializer
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> data = planted(200, 100)
    >>> report = SGURInitInitializer(n_clusters=4).apply(LightGCN(data), data, seed=0)
    >>> [table.items_filled for table in report.tables]
    [True]
    """

    name = METHOD

    def compute_start(self, dataset: Dataset, seed: int) -> UserStart:
        """Compute the start that is handed over.

        Recent starts are kept, so the models of a comparison share one computation.

        Parameters
        ----------
        dataset : Dataset
            The data set. Only its training interactions and features are read.
        seed : int
            Seed of the run.

        Returns
        -------
        UserStart
        """
        fields = self.model_dump_json(exclude=_HANDOVER_FIELDS)
        key = (type(self), fields, dataset.fingerprint, seed)
        start = _RECENT.get(key)
        if start is None:
            require_features(dataset)
            method = {name: getattr(self, name) for name in PARAMS if hasattr(self, name)}
            estimator = SGURInit(**method, random_state=derive_seed(seed, "clusters"))
            features = self._features(dataset, seed)
            start = estimator.fit(self._interactions(dataset, seed), features).start_
            _RECENT.put(key, start)
        return start

    def _interactions(self, dataset: Dataset, seed: int) -> sp.csr_array:  # noqa: ARG002
        """Return the interactions to fit on. A control may shuffle them."""
        return dataset.train_matrix()

    def _features(self, dataset: Dataset, seed: int) -> dict[str, ItemFeatures]:  # noqa: ARG002
        """Return the features to fit on. A control may shuffle them."""
        return dict(dataset.features)

    def _tables(self, model: Recommender, seed: int) -> list[UserTable]:  # noqa: ARG002
        """Return the tables to fill. A control may shuffle the features that go with them."""
        return model.user_tables()

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        start = self.compute_start(dataset, seed)
        facts = start.diagnostics
        logger.info(
            "start: %d of %d users have no training interaction and get the mean of the centroids, "
            "weighted by popularity",
            facts.users_without_interactions,
            facts.n_users,
        )
        tables = hand_over(
            model,
            start,
            scale=self.scale,
            fill_items=self.fill_items,
            projected=self.projected,
            target=self.target,
            tables=self._tables(model, seed),
        )
        return HandoverReport(self.name, tables, facts.to_dict())


class LocalInitializer(SGURInitInitializer):
    """The local half of ``sgurinit`` only: the mean of a user's items.

    The parameters are those of `SGURInitInitializer`, with `local_weight` fixed at 1.

    See Also
    --------
    GlobalInitializer : The other half.

    Examples
    --------
    >>> from sgurinit.arms import LocalInitializer
    >>> LocalInitializer(n_clusters=4).local_weight
    1.0
    """

    name = "local"
    controls = METHOD
    fixed = frozenset({"local_weight"})

    local_weight: float = Field(default=1.0, ge=1, le=1, description="Fixed.")


class GlobalInitializer(SGURInitInitializer):
    """The global half of ``sgurinit`` only: the mean of the centroids of a user's items.

    The parameters are those of `SGURInitInitializer`, with `local_weight` fixed at 0.

    See Also
    --------
    LocalInitializer : The other half.

    Examples
    --------
    >>> from sgurinit.arms import GlobalInitializer
    >>> GlobalInitializer(n_clusters=4).local_weight
    0.0
    """

    name = "global"
    controls = METHOD
    fixed = frozenset({"local_weight"})

    local_weight: float = Field(default=0.0, ge=0, le=0, description="Fixed.")


class PermutedInitializer(SGURInitInitializer):
    """Control: finished rows shuffled among the users, and item rows among the items.

    Norms and distribution stay the same, but a row no longer belongs to its user. The rows of the
    interactions are shuffled before the fit, which shuffles the users in every space in the same
    way. Item tables are shuffled where the start filled them. The parameters are those of
    `SGURInitInitializer`.

    See Also
    --------
    SGURInitInitializer : The arm that it controls.

    Examples
    --------
    >>> from sgurinit.arms import PermutedInitializer
    >>> from sgurinit.data import planted
    >>> PermutedInitializer(n_clusters=4).compute_start(planted(200, 100), seed=0).n_users
    200
    """

    name = CONTROL
    controls = METHOD

    @override
    def _interactions(self, dataset: Dataset, seed: int) -> sp.csr_array:
        order = make_generator(seed, "permutation").permutation(dataset.n_users)
        return sp.csr_array(dataset.train_matrix()[order])

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        report = super().fill(model, dataset, seed)
        order = torch.from_numpy(make_generator(seed, "items").permutation(dataset.n_items))
        for table, found in zip(model.user_tables(), report.tables, strict=True):
            if found.items_filled and table.items is not None:
                with torch.no_grad():
                    table.items.copy_(table.items[order.to(table.items.device)])
        return report


class RandomScaledInitializer(MethodInitializer):
    """Control: the model's own random values at the norm that ``sgurinit`` gives them.

    ``sgurinit`` with the same settings initializes a copy of the model. Every table filled there is
    rescaled here to the same mean row norm. Tables behind a projection (``projected="through"`` or
    ``"added"``) stay as they are. The parameters are those of `SGURInitInitializer`.

    See Also
    --------
    SGURInitInitializer : The arm that it controls.

    Examples
    --------
    >>> from sgurinit.arms import RandomScaledInitializer
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> data = planted(200, 100)
    >>> (table,) = RandomScaledInitializer().apply(LightGCN(data), data, seed=0).tables
    >>> round(table.norm_after / table.norm_before, 3)
    4.0
    """

    name = "random-scaled"
    controls = METHOD

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        tables, before = model.user_tables(), report_unchanged(model.user_tables())
        twin = copy.deepcopy(model)
        report = SGURInitInitializer(**self.model_dump()).fill(twin, dataset, seed)
        for table, filled, found in zip(tables, twin.user_tables(), report.tables, strict=True):
            if found.projected in {None, "once"}:
                match_norm_(table.parameter, filled.parameter)
            if found.items_filled and table.items is not None and filled.items is not None:
                match_norm_(table.items, filled.items)
        return HandoverReport(self.name, _set_norms_before(report_unchanged(tables), before))


class HybridInitializer(SGURInitInitializer):
    """The library's extension: a joint space of content and of who uses the items.

    The parameters are those of `SGURInitInitializer`, with other defaults for `local_weight`,
    `scale` and `target`, and with `collaborative` fixed at True.

    See Also
    --------
    CollaborativeInitializer : The control without content.
    HybridShuffledInitializer : The control with shuffled content.

    Examples
    --------
    >>> from sgurinit.arms import HybridInitializer
    >>> HybridInitializer().collaborative
    True
    """

    name = "hybrid"
    fixed = frozenset({"collaborative"})

    local_weight: float = Field(
        default=get_default("local_weight", "hybrid"),
        ge=0,
        le=1,
        description=PARAMS["local_weight"].text,
    )
    collaborative: Literal[True] = Field(
        default=get_default("collaborative", "hybrid"), description="Fixed."
    )
    scale: _ScaleSetting = Field(default=8.0, description=_SCALE_TEXT)
    target: Target = Field(default="vectors", description=_TARGET_TEXT)


class CollaborativeInitializer(HybridInitializer):
    """Control: ``hybrid`` without content, at the same width.

    The parameters are those of `HybridInitializer`, with `content_weight` fixed at 0. The penalty
    is chosen again.

    See Also
    --------
    HybridInitializer : The arm that it controls.

    Examples
    --------
    >>> from sgurinit.arms import CollaborativeInitializer
    >>> from sgurinit.data import planted
    >>> start = CollaborativeInitializer().compute_start(planted(200, 100), seed=0)
    >>> start.joint(16).items.shape
    (100, 16)
    """

    name = "collaborative"
    controls = "hybrid"
    fixed = frozenset({"collaborative", "content_weight"})

    content_weight: Literal[0] = Field(default=0, description="Fixed.")


class HybridShuffledInitializer(HybridInitializer):
    """Control: ``hybrid`` with the content shuffled among the items before the fit.

    The weight of the content and the penalty are chosen again. All modalities are shuffled in the
    same order. The model keeps its own features; features that the start takes from the model are
    shuffled in the same order. The parameters are those of `HybridInitializer`.

    See Also
    --------
    HybridInitializer : The arm that it controls.

    Examples
    --------
    >>> from sgurinit.arms import HybridShuffledInitializer
    >>> HybridShuffledInitializer().controls
    'hybrid'
    """

    name = "hybrid-shuffled"
    controls = "hybrid"

    def _order(self, n_items: int, seed: int) -> IntArray:
        return make_generator(seed, "content").permutation(n_items)

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
    """Return the names of the arms, in alphabetical order.

    Returns
    -------
    sequence of str

    See Also
    --------
    sgurinit.resolve.resolve_initializer : Returns the initializer of a name.

    Examples
    --------
    >>> from sgurinit.arms import arm_names
    >>> [name for name in arm_names() if name.startswith("hybrid")]
    ['hybrid', 'hybrid-shuffled']
    """
    return sorted(arm.name for arm in arm_resolver)
