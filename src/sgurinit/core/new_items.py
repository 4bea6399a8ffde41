"""Vectors for items that nobody has used yet, in the space of any model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.core.inputs.conversion import to_array
from sgurinit.core.inputs.features import BFLOAT16
from sgurinit.core.inputs.interactions import InteractionsLike, parse_interactions
from sgurinit.core.inputs.training_data import find_features
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.joint import join_content, reduce_modality
from sgurinit.core.steps.new_items import place_by_content
from sgurinit.errors import InputError

_WIDTH = 128  # at most so many columns of content


def place_new_items(
    items: ArrayLike,
    interactions: InteractionsLike,
    features: Mapping[str, Any] | None = None,
    *,
    item_ids: Any = None,
    n_neighbors: int = 10,
    n_jobs: int | None = None,
) -> Float32Array:
    r"""Place each item without interactions at the mean of used items with similar content.

    A model leaves items that it was not trained on at their random or initial vectors, where no
    user finds them. At the mean of trained items they are recommended beside the others. The
    vectors can come from any model that ranks items by the dot products of vectors.

    The content is centered per modality, and the modalities are weighted by their content agreement
    beyond chance. The mean is weighted by the cosines; used items with a cosine of at most zero do
    not count. The preset ``"hybrid"`` does the same in the joint space. It is not part of
    SG-URInit.

    Parameters
    ----------
    items : array-like of shape (n_items, d)
        Vectors of the items, such as ``model.embed()[1]``. They are not changed.
    interactions : sparse matrix, edge list, list of items per user, DataFrame or Dataset
        The interactions that the model was trained on, in any form that `SGURInit.fit` takes.
    features : mapping of str to ItemFeatures, array or column of lists, optional
        Item features by modality, as for `SGURInit.fit`. Not needed with a `Dataset`.
    item_ids : array-like of shape (n_items,), optional
        External id of each feature row. Needed with a DataFrame.
    n_neighbors : int, default 10
        Number of used items whose mean it is, at least 1. Fewer give the new items longer vectors:
        they enter more lists, at the expense of the other items. An untrained ``"hybrid"`` has 20;
        training makes the vectors of the used items longer.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.

    Returns
    -------
    ndarray of float32, shape (n_items, d)
        The vectors. New items with neighbors have theirs; all others are as given.

    Raises
    ------
    InputError
        The vectors, the interactions or the features are not usable; the message names what.

    See Also
    --------
    SGURInit.partial_fit : Adds new items to a start.
    sgurinit.integrations.vectors.VectorStore : Finds items by vectors, see ``model_vectors``.

    Examples
    --------
    >>> import numpy as np
    >>> from sgurinit.core import place_new_items
    >>> features = {"text": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])}
    >>> place_new_items([[5.0], [7.0], [0.0]], [[0, 1], [1]], features)
    array([[5.],
           [7.],
           [5.]], dtype=float32)
    """
    whole = isinstance(n_neighbors, int | np.integer) and not isinstance(n_neighbors, bool)
    if not whole or n_neighbors < 1:
        raise InputError(f"n_neighbors is {n_neighbors!r}, expected an integer of at least 1")
    tables = find_features(interactions, features)
    n_items = next(iter(tables.values())).n_items
    vectors = _to_vectors(items)
    if vectors.ndim != 2 or len(vectors) != n_items:
        raise InputError(
            f"items have the shape {vectors.shape}, expected a vector for each of the "
            f"{n_items} items"
        )
    matrix = parse_interactions(interactions, n_items, item_ids).matrix
    degrees = count_item_degrees(matrix)
    blocks = {name: reduce_modality(table, _WIDTH, n_jobs) for name, table in tables.items()}
    order = np.arange(n_items, dtype=np.float64)
    content = join_content(blocks, matrix, order, _WIDTH, n_jobs=n_jobs)
    if not np.isfinite(vectors[degrees > 0]).all():
        raise InputError("items holds a NaN or infinite value in the vector of a used item")
    placed_rows, placed = place_by_content(vectors, content, degrees, n_neighbors)
    result = vectors.copy()
    result[placed] = placed_rows[placed]
    return result


def _to_vectors(items: ArrayLike) -> Float32Array:
    """Return vectors as a float32 array; a number beyond its range becomes infinite."""
    vectors = to_array(items, "items")
    if vectors.dtype.kind not in "biuf" and vectors.dtype != BFLOAT16:
        raise InputError(f"items holds {vectors.dtype}, expected numbers")
    with np.errstate(over="ignore"):  # what is not finite is refused where it is used
        return vectors.astype(np.float32)
