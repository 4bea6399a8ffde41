"""Slow dense float64 parts of the models with modality branches."""

from __future__ import annotations

import numpy as np
from reference import array, dense_adjacency, linear


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def projected(branch, values):
    first, _, last = branch.projection
    hidden = linear(first, values)
    return linear(last, np.where(hidden > 0, hidden, 0.01 * hidden))


def branch_nodes(branch, values, adjacency):
    """Unit vectors of users and items and their two propagations, summed."""
    x = np.vstack([unit(array(branch.preference)), unit(projected(branch, values))])
    return x + adjacency @ x + adjacency @ adjacency @ x


def user_softmax(dataset, k):
    """Dense softmax weights of each user's nearest users."""
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


def weights_penalty(model, users):
    total = (array(model.modality_weights) ** 2).mean()
    for branch in model.branches:
        total += (array(branch.preference)[users] ** 2).mean()
    return total
