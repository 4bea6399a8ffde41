"""Cosines of pairs and the gap of given users, against what they are by definition."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sgurinit.core.semantic_gap import compute_gap, compute_gaps, compute_pair_cosines


def case() -> tuple[sp.csr_array, np.ndarray, np.ndarray]:
    """Items on axes, users on their own items' axis; the last user has none."""
    items = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    dense = np.zeros((40, 20), dtype=np.float32)
    for user in range(39):
        dense[user, 5 * (user % 4) : 5 * (user % 4) + 5] = 1
    users = 3 * np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    return sp.csr_array(dense), items, users


def test_own_pairs_are_own_and_random_ones_are_random() -> None:
    matrix, items, users = case()
    own, random = compute_pair_cosines(matrix, items, users, seed=0)
    assert len(own) == len(random) == 39  # users with interactions
    assert np.allclose(own, 1)
    assert set(np.round(random, 6)) == {0.0, 1.0}
    assert 0.05 < random.mean() < 0.5


def test_a_zero_row_has_no_direction() -> None:
    matrix, items, users = case()
    own, _ = compute_pair_cosines(matrix, items, np.zeros_like(users), seed=0)
    assert not own.any()


def test_the_gap_of_given_users_is_that_after() -> None:
    matrix, items, users = case()
    _, after = compute_gaps(matrix, items, users, seed=3)
    assert compute_gap(matrix, items, users, seed=3) == after
    assert np.isclose(after.alignment, 1 - 1 / 4)
