"""MENTOR: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from branched import compute_penalty, normalize_rows, project_features
from reference import build_random_model, dense_adjacency, dense_knn, log_sigmoid_loss, to_array

from sgurinit.models import MENTOR
from sgurinit.testing import RecommenderTests


class TestMENTOR(RecommenderTests):
    model_class = MENTOR


def propagate(x, adjacency, noises=(0, 0)):
    first = adjacency @ x
    first = first + np.sign(first) * noises[0]
    second = adjacency @ first
    second = second + np.sign(second) * noises[1]
    return x + first + second


def map_branch(branch, values):
    return np.vstack(
        [
            normalize_rows(to_array(branch.preference)),
            normalize_rows(project_features(branch, values)),
        ]
    )


def test_mentor(dataset, batch):
    model = build_random_model(
        MENTOR, dataset, k=4, reg=0.3, align=0.4, contrast=0.5, temperature=0.7, noise=0.2
    )
    n, m = dataset.n_users, len(dataset.features)
    tables = [f.values.astype(float) for f in dataset.features.values()]
    adjacency = dense_adjacency(dataset)
    graph = 0.1 * dense_knn(tables[0], 4, False) + 0.9 * dense_knn(tables[1], 4, False)
    weights = to_array(model.modality_weights)
    branches = [map_branch(*pair) for pair in zip(model.branches, tables, strict=True)]

    def join(nodes):
        u = np.hstack([weights[:, [k]] * x[:n] for k, x in enumerate(nodes)])
        i = np.hstack([x[n:] for x in nodes])
        return u, i + graph @ i

    nodes = [propagate(x, adjacency) for x in branches]
    u, i = join(nodes)
    np.testing.assert_allclose(to_array(model.embed()[0]), u, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_array(model.embed()[1]), i, rtol=1e-4, atol=1e-5)

    guide = propagate(map_branch(model.guide, to_array(model.item_embedding)), adjacency)
    aligned = [np.vstack([x[:n], x[n:] + graph @ x[n:]]).ravel() for x in (guide, *nodes)]
    aligned.append(np.concatenate([u.ravel(), i.ravel()]))
    align = sum(
        abs(a.mean() - b.mean()) + abs(a.var() - b.var()) for a, b in combinations(aligned, 2)
    )

    torch.manual_seed(11)
    views = []
    for _ in range(2):
        perturbed = []
        for x in branches:
            noises = [
                0.2 * normalize_rows(to_array(torch.rand(x.shape)))
                for _ in range(model.config.n_layers)
            ]
            perturbed.append(propagate(x, adjacency, noises))
        views.append(join(perturbed))
    contrast = 0
    sampled = batch.users.unique(), batch.positives.unique()
    for one, other, rows in zip(*views, sampled, strict=True):
        similarity = np.exp(normalize_rows(one[rows]) @ normalize_rows(other[rows]).T / 0.7)
        contrast -= np.log(np.diag(similarity) / similarity.sum(axis=1)).mean()

    assert m == 2
    ranking = log_sigmoid_loss(u[batch.users], i[batch.positives], i[batch.negatives])
    expected = ranking / np.log(2) + 0.3 * compute_penalty(model, batch.users)
    expected += 0.4 * align + 0.5 * contrast
    torch.manual_seed(11)
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_noise_has_the_configured_length_and_the_layers_signs(dataset):
    model = build_random_model(MENTOR, dataset, n_layers=1, noise=0.25)
    (x, _) = model.branches()
    layer = model.graph(x)
    moved = model._noise([x, layer])
    reached = layer.abs().sum(dim=1) > 0
    torch.testing.assert_close(moved[reached].norm(dim=1), torch.full((int(reached.sum()),), 0.25))
    assert (moved * layer >= 0).all()
    assert not moved[~reached].any()
