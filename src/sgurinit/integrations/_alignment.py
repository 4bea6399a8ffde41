"""Features and starts in the order in which a framework numbers its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.inputs.features import as_features
from sgurinit.errors import InputError


def align_features(
    features: Mapping[str, Any], item_ids: Sequence[Any], framework_ids: Sequence[Any]
) -> dict[str, ItemFeatures]:
    """Put feature rows into a framework's order of items, by id and never by position.

    Parameters
    ----------
    features : mapping of str to ItemFeatures or ndarray
        Features by modality, one row per item, in any order.
    item_ids : sequence
        External id of each row, unique. Ids are compared as text.
    framework_ids : sequence
        External ids in the framework's order. Items without a feature row are marked as missing.

    Returns
    -------
    dict of str to ItemFeatures

    Raises
    ------
    InputError
        Rows and ids differ in number, an id occurs twice, or no item has features.
    """
    position = {str(key): at for at, key in enumerate(item_ids)}
    if len(position) != len(item_ids):
        raise InputError("item_ids: an id occurs twice, expected one feature row per id")
    at = np.array([position.get(str(key), -1) for key in framework_ids], dtype=np.int64)
    if not (at >= 0).any():
        raise InputError(
            f"no item has features: item_ids holds {list(position)[:3]} ..., the framework's items "
            f"are {[str(key) for key in framework_ids[:3]]} ...; give the ids that the framework "
            "was given"
        )
    ordered = {}
    for name, table in as_features(features).items():
        if table.n_items != len(position):
            raise InputError(f"{name}: {table.n_items} rows for {len(position)} item ids")
        present = (at >= 0) & table.mask()[at]
        ordered[name] = ItemFeatures(np.where(present[:, None], table.values[at], 0), present)
    return ordered


def fit_start(
    matrix: Any, features: Mapping[str, ItemFeatures], estimator: SGURInit | None
) -> UserStart:
    """Fit a clone of an estimator on a framework's interactions.

    Parameters
    ----------
    matrix : sparse matrix of shape (n_users, n_items)
        Training interactions. Any nonzero value counts as one.
    features : mapping of str to ItemFeatures
        Features in the order of the columns.
    estimator : SGURInit or None
        Parameters of the method. ``SGURInit(random_state=0)`` where None.

    Returns
    -------
    UserStart
    """
    fitted = SGURInit(random_state=0) if estimator is None else clone(estimator)
    binary = sp.csr_array(matrix).astype(bool).astype(np.float32)
    return fitted.fit(binary, features).start_
