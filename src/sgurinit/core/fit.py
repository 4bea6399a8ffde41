"""`Fit`: what a fit keeps. `FittedStart`: the start of a fitted estimator."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version

import numpy as np

from sgurinit.core.device import find_processor
from sgurinit.core.diagnostics import Diagnostics, diagnose
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, FloatArray
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.inputs.fingerprint import compute_fingerprint
from sgurinit.core.inputs.interactions import ParsedInteractions
from sgurinit.core.inputs.training_data import TrainingData
from sgurinit.core.params import Parameters, check_width
from sgurinit.core.start import JointStart, UserStart
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.joint import compute_joint_items
from sgurinit.core.steps.space import FittedSpace, Space
from sgurinit.errors import InputError
from sgurinit.progress import ProgressCallback, no_progress


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted state: interactions, features, parameters, and the spaces fitted on them.

    Parameters
    ----------
    interactions : ParsedInteractions
        Training interactions.
    features : mapping of str to ItemFeatures
        Features as given.
    parameters : Parameters
        Parameters of the fit.
    spaces : mapping of str to Space
        Fitted space of each modality.
    dataset : TrainingData or None
        The data set that interactions and features come from, where one was given.
    n_jobs : int or None
        Threads for the users' sums.
    device : str
        What computes, see `find_processor`.
    joints : dict
        Joint spaces computed so far, by width.
    """

    interactions: ParsedInteractions
    features: Mapping[str, ItemFeatures]
    parameters: Parameters
    spaces: Mapping[str, Space] = field(default_factory=dict)
    dataset: TrainingData | None = None
    n_jobs: int | None = None
    device: str = "cpu"
    joints: dict[int, FittedSpace] = field(default_factory=dict)

    def fit_space(self, table: ItemFeatures) -> Space:
        """Fit a space on other items, with the same interactions and parameters.

        Raises
        ------
        InputError
            The table does not have one row per item, or cannot be clustered.
        """
        n_items = int(self.interactions.matrix.shape[1])
        if table.n_items != n_items:
            raise InputError(
                f"the item table has {table.n_items} rows, expected {n_items}: one per item"
            )
        degrees = count_item_degrees(self.interactions.matrix)
        processor = find_processor(self.device)
        return Space.fit(degrees, table, self.parameters, preprocess=False, processor=processor)

    def fit_spaces(self, progress: ProgressCallback = no_progress) -> dict[str, Space]:
        """Fit the space of every modality.

        Raises
        ------
        InputError
            A modality cannot be used; the message names it.
        """
        spaces: dict[str, Space] = {}
        degrees = count_item_degrees(self.interactions.matrix)
        processor = find_processor(self.device)
        for name, table in self.features.items():
            progress(f"items of {name}", 0, 0)
            try:
                spaces[name] = Space.fit(
                    degrees, table, self.parameters, preprocess=True, processor=processor
                )
            except InputError as error:
                raise type(error)(f"modality {name!r}: {error}") from error
        return spaces

    def fit_joint_space(self, dim: int) -> FittedSpace:
        """Fit the joint space of a width; each width is fitted once.

        Raises
        ------
        InputError
            All items have the same features, or the space cannot be clustered.
        """
        if dim not in self.joints:
            matrix = self.interactions.matrix
            joint = compute_joint_items(
                [lambda: matrix],
                count_item_degrees(matrix),
                self.features,
                dim,
                self.parameters,
                n_jobs=self.n_jobs,
                processor=find_processor(self.device),
            )
            table = ItemFeatures(joint.rows, joint.present)
            try:
                space = self.fit_space(table)
            except InputError as error:
                raise type(error)(f"joint space of width {dim}: {error}") from None
            self.joints[dim] = FittedSpace(table, space, self.compute_users(space), joint.settings)
        return self.joints[dim]

    def compute_users(self, space: Space) -> Float32Array:
        """Compute the users' rows in a space, shape (n_users, d)."""
        processor = find_processor(self.device)
        return space.compute_users(self.interactions.matrix, self.n_jobs, processor)


class FittedStart(UserStart):
    """The start of a fitted estimator, which can compute more than a loaded start.

    It holds the `Fit`, so `on` and `features` work and `joint` takes any width. Diagnostics, the
    fingerprint and the joint tables are computed when first read.

    Parameters
    ----------
    fit : Fit
        The fitted state.
    users : mapping of str to ndarray of float32, shape (n_users, d_m)
        Users' rows by modality.

    See Also
    --------
    UserStart : The same as plain data, as `UserStart.load` returns it.
    SGURInit.fit : Makes one.

    Examples
    --------
    >>> from sgurinit import SGURInit, UserStart
    >>> from sgurinit.data import planted
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> isinstance(start, FittedStart) and isinstance(start, UserStart)
    True
    >>> start.joint(8).users.shape, start.joint(16).users.shape
    ((200, 8), (200, 16))
    """

    fit: Fit

    def __init__(self, fit: Fit, users: Mapping[str, Float32Array]) -> None:
        values = {
            "fit": fit,
            "users": dict(users),
            "clusters": {name: space.to_clusters() for name, space in fit.spaces.items()},
            "config": fit.parameters.to_config(),
            "user_ids": fit.interactions.user_ids,
            "item_ids": fit.interactions.item_ids,
            "versions": dict(_find_versions()),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the base class is frozen

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Sizes, norms, how often each policy applied, and the semantic gap."""
        fit, width = self.fit, self.fit.parameters.joint_dim
        spaces = {
            name: FittedSpace(fit.features[name], fit.spaces[name], users)
            for name, users in self.users.items()
        }
        joint = None if width is None else fit.fit_joint_space(width)
        return diagnose(fit.interactions, spaces, joint)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the data that the start was computed from."""
        if self.fit.dataset is not None:
            return self.fit.dataset.fingerprint
        return compute_fingerprint(self.fit.interactions, self.fit.features)

    @property
    def joint_tables(self) -> tuple[Float32Array, Float32Array] | None:
        """Users and items of the joint space of width ``joint_dim``, where that is set."""
        width = self.fit.parameters.joint_dim
        if width is None:
            return None
        joint = self.joint(width)
        return joint.users, joint.items

    def on(self, items: FloatArray, *, present: BoolArray | None = None) -> Float32Array:
        """Compute the users in the space of any item table, see `UserStart.on`."""
        return self.fit.compute_users(self.fit.fit_space(ItemFeatures(items, present)))

    def joint(self, dim: int) -> JointStart:
        """Return users and items in one joint space, see `UserStart.joint`."""
        table, space, users, _ = self.fit.fit_joint_space(check_width("dim", dim))
        return JointStart(users, np.asarray(table.values), space.to_clusters())

    def features(self, modality: str) -> FloatArray:
        """Return the features of all items in a modality, see `UserStart.features`."""
        self._check_modality(modality)
        table = self.fit.features[modality]
        return np.where(table.mask()[:, None], table.values, 0)


@cache
def _find_versions() -> dict[str, str]:
    packages = ("sgurinit", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
