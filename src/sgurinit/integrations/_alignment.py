"""Features in the order in which a framework numbers its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.inputs.features import as_features
from sgurinit.errors import InputError


def by_id(
    features: Mapping[str, Any], item_ids: Sequence[Any], wanted: Sequence[Any]
) -> dict[str, ItemFeatures]:
    """Put feature rows into another order, by id and never by position.

    Parameters
    ----------
    features : mapping of str to ItemFeatures or ndarray
        One row per id and modality.
    item_ids : sequence
        The ids of these rows, unique; compared as text.
    wanted : sequence
        The ids in the order that is wanted. Those that have no row are marked as missing.

    Returns
    -------
    dict of str to ItemFeatures

    Raises
    ------
    InputError
        Rows and ids differ in number, an id comes twice, or none is wanted.
    """
    position = {str(key): at for at, key in enumerate(item_ids)}
    if len(position) != len(item_ids):
        raise InputError("an item id comes twice, expected one feature row per id")
    at = np.array([position.get(str(key), -1) for key in wanted], dtype=np.int64)
    if not (at >= 0).any():
        raise InputError(
            f"no item has features: the features are of {list(position)[:3]} ..., the items are "
            f"{[str(key) for key in wanted[:3]]} ...; give the ids that the framework was given"
        )
    ordered = {}
    for name, table in as_features(features).items():
        if table.n_items != len(position):
            raise InputError(f"{name}: {table.n_items} rows for {len(position)} item ids")
        present = (at >= 0) & table.mask()[at]
        ordered[name] = ItemFeatures(np.where(present[:, None], table.values[at], 0), present)
    return ordered


def start_on(
    matrix: Any, features: Mapping[str, ItemFeatures], estimator: SGURInit | None
) -> UserStart:
    """Fit a copy of `estimator`, by default ``SGURInit(random_state=0)``, in a given order."""
    fitted = SGURInit(random_state=0) if estimator is None else clone(estimator)
    binary = sp.csr_array(matrix).astype(bool).astype(np.float32)
    return fitted.fit(binary, features).start_
