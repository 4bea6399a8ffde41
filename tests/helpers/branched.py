"""Dense float64 building blocks of the models with modality branches."""

from __future__ import annotations

import numpy as np
from reference import apply_linear, dense_adjacency, to_array


def normalize_rows(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def project_features(branch, values):
    """Map features by a branch's projection."""
    first, _, last = branch.projection
    hidden = apply_linear(first, values)
    return apply_linear(last, np.where(hidden > 0, hidden, 0.01 * hidden))


def propagate_branch(branch, values, adjacency):
    """Add up the unit vectors of users and items and their two propagations."""
    x = np.vstack(
        [
            normalize_rows(to_array(branch.preference)),
            normalize_rows(project_features(branch, values)),
        ]
    )
    return x + adjacency @ x + adjacency @ adjacency @ x


def weigh_similar_users(dataset, k):
    """Compute the dense softmax weights of each user's most similar users."""
    n = dataset.n_users
    shared = (dense_adjacency(dataset)[:n, n:] > 0).astype(float)
    counts = shared @ shared.T
    weights = np.zeros_like(counts)
    for user in range(n):
        others = [other for other in range(n) if other != user and counts[user, other] > 0]
        others = sorted(others, key=lambda other: (-counts[user, other], other))[:k]
        weights[user, others] = np.exp(counts[user, others])
        if others:
            weights[user] /= weights[user].sum()
    return weights


def compute_penalty(model, users):
    """Compute the mean squares of all weights and of the batch's preferences."""
    total = (to_array(model.modality_weights) ** 2).mean()
    for branch in model.branches:
        total += (to_array(branch.preference)[users] ** 2).mean()
    return total
