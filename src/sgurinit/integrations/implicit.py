"""implicit: initial factors of its models, set before `fit`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.handover import DEFAULT_SCALE, Scale
from sgurinit.integrations._numpy_tables import fill_copies


def set_factors(
    model: Any,
    user_items: Any,
    start: UserStart,
    *,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> None:
    """Set the initial factors of an ALS or BPR model on the CPU, in place.

    Call it before the model's `fit`. ALS solves for the users first, so mainly the items' start has
    an effect there.

    Parameters
    ----------
    model : AlternatingLeastSquares or BayesianPersonalizedRanking
        A model that was not fitted.
    user_items : csr_matrix of shape (n_users, n_items)
        The matrix that it will be fitted on.
    start : UserStart
        A start for the rows of this matrix.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Raises
    ------
    InputError
        The model was fitted or has no such factors, the start does not fit them, or its
        `preprocess` has no effect on them.

    See Also
    --------
    sgurinit.hand_over : The hand-over and its parameters.

    Examples
    --------
    ```python
    matrix = scipy.sparse.csr_matrix(data.train_matrix())
    model = implicit.als.AlternatingLeastSquares(factors=64)
    set_factors(model, matrix, SGURInit(random_state=0).fit(data).start_)
    model.fit(matrix)
    ```
    """
    if not hasattr(model, "user_factors") or not hasattr(model, "iterations"):
        raise InputError(f"{type(model).__name__} has no user factors to set")
    if model.user_factors is not None:
        raise InputError("the model has factors already: create a new one")
    own = deepcopy(model)
    own.iterations = 0  # only draws its random values
    own.fit(user_items, show_progress=False)
    users, items = np.array(own.user_factors), np.array(own.item_factors)
    width = model.factors  # BPR keeps the items' biases in one more column
    users[:, :width], items[:, :width] = fill_copies(
        users[:, :width], items[:, :width], start, scale=scale, fill_items=fill_items
    )
    model.user_factors, model.item_factors = users, items
