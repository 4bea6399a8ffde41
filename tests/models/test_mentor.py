"""MENTOR: what holds for every model, and its equations written once more."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from branched import projected, unit, weights_penalty
from reference import array, built, dense_adjacency, dense_knn, log_sigmoid_loss

from sgurinit.models import MENTOR
from sgurinit.testing import RecommenderTests


class TestMENTOR(RecommenderTests):
    kind = MENTOR


def propagated(x, adjacency, noises=(0, 0)):
    first = adjacency @ x
    first = first + np.sign(first) * noises[0]
    second = adjacency @ first
    second = second + np.sign(second) * noises[1]
    return x + first + second


def start(branch, values):
    return np.vstack([unit(array(branch.preference)), unit(projected(branch, values))])


def test_mentor(dataset, batch):
    model = built(
        MENTOR, dataset, k=4, reg=0.3, align=0.4, contrast=0.5, temperature=0.7, noise=0.2
    )
    n, m = dataset.n_users, len(dataset.features)
    tables = [f.values.astype(float) for f in dataset.features.values()]
    adjacency = dense_adjacency(dataset)
    graph = 0.1 * dense_knn(tables[0], 4, False) + 0.9 * dense_knn(tables[1], 4, False)
    weights = array(model.modality_weights)
    starts = [start(*pair) for pair in zip(model.branches, tables, strict=True)]

    def join(nodes):
        u = np.hstack([weights[:, [k]] * x[:n] for k, x in enumerate(nodes)])
        i = np.hstack([x[n:] for x in nodes])
        return u, i + graph @ i

    nodes = [propagated(x, adjacency) for x in starts]
    u, i = join(nodes)
    np.testing.assert_allclose(array(model.embed()[0]), u, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(model.embed()[1]), i, rtol=1e-4, atol=1e-5)

    guide = propagated(start(model.guide, array(model.item_embedding)), adjacency)
    aligned = [np.vstack([x[:n], x[n:] + graph @ x[n:]]).ravel() for x in (guide, *nodes)]
    aligned.append(np.concatenate([u.ravel(), i.ravel()]))
    align = sum(
        abs(a.mean() - b.mean()) + abs(a.var() - b.var()) for a, b in combinations(aligned, 2)
    )

    torch.manual_seed(11)
    views = []
    for _ in range(2):
        perturbed = []
        for x in starts:
            noises = [0.2 * unit(array(torch.rand(x.shape))) for _ in range(model.config.n_layers)]
            perturbed.append(propagated(x, adjacency, noises))
        views.append(join(perturbed))
    contrast = 0
    sampled = batch.users.unique(), batch.positives.unique()
    for one, other, rows in zip(*views, sampled, strict=True):
        similarity = np.exp(unit(one[rows]) @ unit(other[rows]).T / 0.7)
        contrast -= np.log(np.diag(similarity) / similarity.sum(axis=1)).mean()

    assert m == 2
    ranking = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    expected = ranking / np.log(2) + 0.3 * weights_penalty(model, batch.users)
    expected += 0.4 * align + 0.5 * contrast
    torch.manual_seed(11)
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_noise_has_the_length_asked_for_and_the_layers_signs(dataset):
    model = built(MENTOR, dataset, n_layers=1, noise=0.25)
    (x, _) = model.branches()
    layer = model.graph(x)
    moved = model._noise([x, layer])
    reached = layer.abs().sum(dim=1) > 0
    torch.testing.assert_close(moved[reached].norm(dim=1), torch.full((int(reached.sum()),), 0.25))
    assert (moved * layer >= 0).all()
    assert not moved[~reached].any()
