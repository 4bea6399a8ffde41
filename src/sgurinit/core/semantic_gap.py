"""The semantic gap: how far apart users and items are in one space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from sgurinit.core.inputs.arrays import Float64Array, FloatArray
from sgurinit.core.inputs.features import row_norms
from sgurinit.core.steps.aggregate import count_user_degrees

# Number of sampled users, and of sampled items that stand for "random items".
_SAMPLE = 2000

# Largest number of users, and of items, in each half of the classifier's split.
_HALF = 500
# Ridge penalty relative to the mean squared norm of the rows.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Gap:
    """Semantic gap between a user table and an item table in one space.

    Parameters
    ----------
    alignment : float in [-2, 2]
        Mean cosine of users with their own items minus that with random items; higher is better.
    centroid_distance : float >= 0
        Distance between the mean user and the mean item, relative to the mean row norm of both
        tables; 0 where both tables have the same mean.
    separability : float in [0, 1] or None
        Held-out AUC of a linear classifier that tells users from items; 0.5 where it cannot. None
        where there are too few rows to hold any out.

    See Also
    --------
    compute_gap : Measures it.
    UserStart : Its ``diagnostics`` hold the gap of every space.

    Examples
    --------
    >>> Gap(alignment=0.5, centroid_distance=0.1, separability=0.6).alignment
    0.5
    """

    alignment: float
    centroid_distance: float
    separability: float | None


@dataclass(frozen=True, eq=False)
class _Sample:
    """Sampled users and items, and the interactions among them."""

    users: NDArray[np.int64]
    own: sp.csr_array  # sampled users x their items
    own_rows: Float64Array
    random_rows: Float64Array


def compute_gaps(
    matrix: sp.csr_array, items: FloatArray, users: FloatArray, seed: int
) -> tuple[Gap, Gap]:
    """Measure the gap of random users, and that of the given users, in one space.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
        Binary interactions with the items that have a row.
    items : ndarray of shape (n_items, d)
        Item rows.
    users : ndarray of shape (n_users, d)
        User rows.
    seed : int
        Seed of the sample and of the random users.

    Returns
    -------
    before : Gap
        Gap of normally distributed random users with the mean norm of `users`.
    after : Gap
        Gap of `users`.

    See Also
    --------
    compute_gap : Only the gap of the given users.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> data = planted(200, 100)
    >>> joint = SGURInit(random_state=0).fit(data).start_.joint(16)
    >>> before, after = compute_gaps(data.train_matrix(), joint.items, joint.users, seed=0)
    >>> after.alignment > before.alignment
    True
    """
    generator = np.random.default_rng(seed)
    sample = _draw_sample(matrix, items, generator)
    start = users[sample.users].astype(np.float64)
    random = generator.standard_normal(start.shape)
    random *= _compute_mean_norm(start) / max(_compute_mean_norm(random), np.finfo(np.float64).tiny)
    return _measure(random, sample), _measure(start, sample)


def compute_gap(matrix: sp.csr_array, items: FloatArray, users: FloatArray, seed: int) -> Gap:
    """Measure the semantic gap of the given users.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
        Binary interactions with the items that have a row.
    items : ndarray of shape (n_items, d)
        Item rows.
    users : ndarray of shape (n_users, d)
        User rows.
    seed : int
        Seed of the sample.

    Returns
    -------
    Gap

    See Also
    --------
    compute_gaps : Also the gap of random users.
    compute_pair_cosines : The cosines that the alignment is a mean of.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> data = planted(200, 100)
    >>> joint = SGURInit(random_state=0).fit(data).start_.joint(16)
    >>> gap = compute_gap(data.train_matrix(), joint.items, joint.users, seed=0)
    >>> gap.alignment > 0.2
    True
    """
    sample = _draw_sample(matrix, items, np.random.default_rng(seed))
    return _measure(users[sample.users].astype(np.float64), sample)


def compute_pair_cosines(
    matrix: sp.csr_array, items: FloatArray, users: FloatArray, seed: int
) -> tuple[Float64Array, Float64Array]:
    """Compute cosines of sampled users with one own item each, and with one random item each.

    Parameters
    ----------
    matrix, items, users, seed
        See `compute_gap`.

    Returns
    -------
    own, random : ndarray of float64, shape (n,)
        Cosines in [-1, 1] of the same users, who have interactions; 0 where a row is zero.

    See Also
    --------
    compute_gap : Their mean difference, and two more measures.
    """
    generator = np.random.default_rng(seed)
    degrees = count_user_degrees(matrix)
    drawn = _draw_positions(np.flatnonzero(degrees), generator)
    nth = (generator.random(len(drawn)) * degrees[drawn]).astype(np.int64)
    own = matrix.indices[matrix.indptr[drawn] + nth]
    random = generator.integers(items.shape[0], size=len(drawn))
    start = _normalize(users[drawn].astype(np.float64))
    with_own, with_random = (
        np.einsum("nd,nd->n", start, _normalize(items[where].astype(np.float64)))
        for where in (own, random)
    )
    return with_own, with_random


def _draw_sample(
    matrix: sp.csr_array, items: FloatArray, generator: np.random.Generator
) -> _Sample:
    active = np.flatnonzero(count_user_degrees(matrix))
    users = _draw_positions(active, generator)
    part = sp.csr_array(matrix[users])
    used, columns = np.unique(part.indices, return_inverse=True)
    own = sp.csr_array((np.ones(part.nnz), columns, part.indptr), shape=(len(users), len(used)))
    random = _draw_positions(np.arange(items.shape[0]), generator)
    return _Sample(
        users=users,
        own=own,
        own_rows=np.asarray(items[used], dtype=np.float64),
        random_rows=np.asarray(items[random], dtype=np.float64),
    )


def _draw_positions(
    positions: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw up to `_SAMPLE` of the positions, in random order."""
    return generator.permutation(positions)[:_SAMPLE]


def _measure(users: Float64Array, sample: _Sample) -> Gap:
    return Gap(
        alignment=_measure_alignment(users, sample),
        centroid_distance=_measure_centroid_distance(users, sample.random_rows),
        separability=_measure_separability(users, sample.random_rows),
    )


def _measure_alignment(users: Float64Array, sample: _Sample) -> float:
    # Cosines of unit rows are bilinear, so their mean needs no pairs, only the mean of the rows.
    own = sample.own @ _normalize(sample.own_rows) / count_user_degrees(sample.own)[:, None]
    contrast = own - _normalize(sample.random_rows).mean(axis=0)
    return float(np.einsum("ud,ud->u", _normalize(users), contrast).mean())


def _measure_centroid_distance(users: Float64Array, items: Float64Array) -> float:
    scale = (_compute_mean_norm(users) + _compute_mean_norm(items)) / 2
    distance = float(np.linalg.norm(users.mean(axis=0) - items.mean(axis=0)))
    return distance / scale if scale > 0 else 0.0


def _measure_separability(users: Float64Array, items: Float64Array) -> float | None:
    half = min(len(users) // 2, len(items) // 2, _HALF)
    if half < 2:
        return None
    train = np.vstack([users[:half], items[:half]])
    test = np.vstack([users[half : 2 * half], items[half : 2 * half]])
    is_user = np.repeat([True, False], half)
    size = float(np.square(train - train.mean(axis=0)).sum(axis=1).mean())
    if size == 0:
        return 0.5
    with threadpool_limits(limits=1):
        classifier = Ridge(alpha=_RIDGE * size, solver="cholesky").fit(train, is_user * 2.0 - 1.0)
    return _compute_auc(classifier.predict(test), half)


def _compute_auc(scores: Float64Array, n_users: int) -> float:
    """Area under the ROC curve; the first half of the scores is the users', ties count half."""
    wins = float(rankdata(scores)[:n_users].sum()) - n_users * (n_users + 1) / 2
    return wins / n_users**2


def _normalize(rows: Float64Array) -> Float64Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Float64Array = rows / np.where(norms > 0, norms, 1.0)
    return scaled


def _compute_mean_norm(rows: Float64Array) -> float:
    return float(row_norms(rows).mean())
