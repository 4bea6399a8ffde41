"""How far apart users and items start: the semantic gap."""

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
from sgurinit.core.steps.aggregate import user_degrees

# Sampled users, and sampled items that stand for "random items".
SAMPLE = 2000

# Users and items on each side of the classifier's split.
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
    centroid_distance : float, >= 0
        Distance between the mean user and the mean item, relative to the mean row norm of both
        tables; 0 where the tables share a centre.
    separability : float in [0, 1] or None
        Held-out AUC of a linear classifier that tells users from items; 0.5 where it cannot.
        None where there are too few rows to hold any out.
    """

    alignment: float
    centroid_distance: float
    separability: float | None


@dataclass(frozen=True, eq=False)
class _Sample:
    """Sampled users and items, and who has what among them."""

    users: NDArray[np.int64]
    own: sp.csr_array  # sampled users x their items
    own_rows: Float64Array
    random_rows: Float64Array


def semantic_gap(
    matrix: sp.csr_array, items: FloatArray, users: FloatArray, seed: int
) -> tuple[Gap, Gap]:
    """Gap of a random start, and of the given users, in one space.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
        Binary interactions with the items that have a row.
    items : ndarray of shape (n_items, d)
        Item rows.
    users : ndarray of shape (n_users, d)
        User rows.
    seed : int
        Seed of the sample and of the random start.

    Returns
    -------
    before, after : Gap
        Of normal random users with the mean norm of `users`, and of `users`.
    """
    generator = np.random.default_rng(seed)
    sample = _draw(matrix, items, generator)
    start = users[sample.users].astype(np.float64)
    random = generator.standard_normal(start.shape)
    random *= _mean_norm(start) / max(_mean_norm(random), np.finfo(np.float64).tiny)
    return _gap(random, sample), _gap(start, sample)


def gap(matrix: sp.csr_array, items: FloatArray, users: FloatArray, seed: int) -> Gap:
    """Gap of the given users alone; for parameters see `semantic_gap`."""
    sample = _draw(matrix, items, np.random.default_rng(seed))
    return _gap(users[sample.users].astype(np.float64), sample)


def pair_cosines(
    matrix: sp.csr_array, items: FloatArray, users: FloatArray, seed: int
) -> tuple[Float64Array, Float64Array]:
    """Cosines of users with one of their own items each, and with one item drawn at random.

    Parameters
    ----------
    matrix, items, users, seed
        See `semantic_gap`.

    Returns
    -------
    own, random : ndarray of shape (n,)
        Of the same sampled users with interactions, in [-1, 1]; 0 where a row is zero.
    """
    generator = np.random.default_rng(seed)
    degrees = user_degrees(matrix)
    drawn = _some(np.flatnonzero(degrees), generator)
    nth = (generator.random(len(drawn)) * degrees[drawn]).astype(np.int64)
    own = matrix.indices[matrix.indptr[drawn] + nth]
    random = generator.integers(items.shape[0], size=len(drawn))
    start = _unit(users[drawn].astype(np.float64))
    with_own, with_random = (
        np.einsum("nd,nd->n", start, _unit(items[where].astype(np.float64)))
        for where in (own, random)
    )
    return with_own, with_random


def _draw(matrix: sp.csr_array, items: FloatArray, generator: np.random.Generator) -> _Sample:
    active = np.flatnonzero(user_degrees(matrix))
    users = _some(active, generator)
    part = sp.csr_array(matrix[users])
    used, columns = np.unique(part.indices, return_inverse=True)
    own = sp.csr_array((np.ones(part.nnz), columns, part.indptr), shape=(len(users), len(used)))
    random = _some(np.arange(items.shape[0]), generator)
    return _Sample(
        users=users,
        own=own,
        own_rows=np.asarray(items[used], dtype=np.float64),
        random_rows=np.asarray(items[random], dtype=np.float64),
    )


def _some(positions: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """At most SAMPLE of the positions, in random order."""
    return generator.permutation(positions)[:SAMPLE]


def _gap(users: Float64Array, sample: _Sample) -> Gap:
    return Gap(
        alignment=_alignment(users, sample),
        centroid_distance=_centroid_distance(users, sample.random_rows),
        separability=_separability(users, sample.random_rows),
    )


def _alignment(users: Float64Array, sample: _Sample) -> float:
    # A mean of cosines is the cosine's bilinear form on the means: no pair is ever formed.
    own = sample.own @ _unit(sample.own_rows) / user_degrees(sample.own)[:, None]
    contrast = own - _unit(sample.random_rows).mean(axis=0)
    return float(np.einsum("ud,ud->u", _unit(users), contrast).mean())


def _centroid_distance(users: Float64Array, items: Float64Array) -> float:
    scale = (_mean_norm(users) + _mean_norm(items)) / 2
    distance = float(np.linalg.norm(users.mean(axis=0) - items.mean(axis=0)))
    return distance / scale if scale > 0 else 0.0


def _separability(users: Float64Array, items: Float64Array) -> float | None:
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
    return _auc(classifier.predict(test), half)


def _auc(scores: Float64Array, n_users: int) -> float:
    """Area under the ROC curve of scores whose first half is the users'; ties count half."""
    wins = float(rankdata(scores)[:n_users].sum()) - n_users * (n_users + 1) / 2
    return wins / n_users**2


def _unit(rows: Float64Array) -> Float64Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Float64Array = rows / np.where(norms > 0, norms, 1.0)
    return scaled


def _mean_norm(rows: Float64Array) -> float:
    return float(row_norms(rows).mean())
