"""implicit: the factors that its models begin with, where they are set before `fit`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.handover import TIMES, Scale
from sgurinit.integrations._numpy_tables import started


def set_factors(
    model: Any,
    user_items: Any,
    start: UserStart,
    *,
    scale: Scale = TIMES,
    fill_items: bool = True,
) -> None:
    """Set the factors of an ALS or BPR model on the CPU, before its `fit`.

    ALS solves for the users first, so what reaches it is chiefly the items' start.

    Parameters
    ----------
    model : AlternatingLeastSquares or BayesianPersonalizedRanking
        A model that was not fitted.
    user_items : csr_matrix of shape (n_users, n_items)
        The matrix that it will be fitted on.
    start : UserStart
        A start for the rows of this matrix.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `sgurinit.hand_over`.
    fill_items : bool, default True
        See `sgurinit.hand_over`.

    Raises
    ------
    InputError
        The model was fitted or keeps no such factors, the start does not fit them, or its
        `preprocess` has no effect on them.
    """
    if not hasattr(model, "user_factors") or not hasattr(model, "iterations"):
        raise InputError(f"{type(model).__name__} has no user factors to set")
    if model.user_factors is not None:
        raise InputError("the model has factors already: make a new one")
    own = deepcopy(model)
    own.iterations = 0  # its own random start, nothing more
    own.fit(user_items, show_progress=False)
    users, fixed = np.array(own.user_factors), np.array(own.item_factors)
    width = model.factors  # BPR keeps the items' biases in one more column
    users[:, :width], fixed[:, :width] = started(
        users[:, :width], fixed[:, :width], start, scale=scale, fill_items=fill_items
    )
    model.user_factors, model.item_factors = users, fixed
