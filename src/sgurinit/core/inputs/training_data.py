"""What a data set offers to a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

from sgurinit.core.inputs.arrays import IdArray
from sgurinit.core.inputs.features import ItemFeatures, as_features
from sgurinit.errors import InputError


class TrainingSplit(Protocol):
    """Training interactions of a data set."""

    @property
    def duplicates(self) -> int:
        """Interactions that were dropped because they came before."""


class TrainingData(Protocol):
    """A data set that `SGURInit.fit` takes, such as `sgurinit.Dataset`.

    See Also
    --------
    sgurinit.Dataset : The data set of this library.
    """

    @property
    def train(self) -> TrainingSplit:
        """Training interactions."""

    @property
    def features(self) -> Mapping[str, ItemFeatures]:
        """Item features by modality, one row per item."""

    @property
    def user_ids(self) -> IdArray:
        """External id of each user, shape (n_users,)."""

    @property
    def item_ids(self) -> IdArray:
        """External id of each item, shape (n_items,)."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the data."""

    def train_matrix(self) -> Any:
        """Return the training interactions, a SciPy sparse matrix of shape (n_users, n_items)."""


def is_training_data(value: object) -> TypeGuard[TrainingData]:
    """Whether a value is a data set.

    One method tells it: `isinstance` with a protocol looks at every attribute and on Python 3.11
    would compute the fingerprint, which reads all features.
    """
    return hasattr(value, "train_matrix")


def require_features(dataset: Any) -> None:
    """Check that a data set has item features.

    Parameters
    ----------
    dataset : TrainingData
        The data set. Its ``name``, if it has one, is in the message.

    Raises
    ------
    InputError
        The data set has no modality.
    """
    if not dataset.features:
        raise InputError(
            f"{getattr(dataset, 'name', 'the data set')}: has no item features; add them with "
            "`sgurinit encode` or `sgurinit.data.prepare.prepare(..., features=...)`"
        )


def find_features(interactions: Any, features: Mapping[str, Any] | None) -> dict[str, ItemFeatures]:
    """Return the features that are given, or those of the data set that is given as interactions.

    Parameters
    ----------
    interactions : TrainingData or other interactions
        What is fitted.
    features : mapping of str to ItemFeatures, array or column of lists, or None
        Item features by modality.

    Returns
    -------
    dict of str to ItemFeatures

    Raises
    ------
    InputError
        There are none, or they are not usable.
    """
    if features is None and is_training_data(interactions):
        require_features(interactions)
        features = interactions.features
    if features is None:
        raise InputError("features are missing: pass a mapping from modality to an array")
    return as_features(features)
