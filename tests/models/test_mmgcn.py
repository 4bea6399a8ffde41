"""MMGCN: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import apply_linear, build_random_model, dense_adjacency, log_sigmoid_loss, to_array

from sgurinit.handover import freeze_
from sgurinit.models import MMGCN
from sgurinit.testing import RecommenderTests, make_small_dataset


class TestMMGCN(RecommenderTests):
    model_class = MMGCN
    small_config = {"width": 4, "latent_widths": {"image": 7}}  # noqa: RUF012 - a class variable of the base class
    # The weakest model here, as in the literature. In ten settings with different widths, rates,
    # layers and longer training, its recall is 1.03 to 1.48 times that of popularity.
    planted_config = {"width": 64, "learning_rate": 0.005, "n_layers": 1}  # noqa: RUF012
    planted_lift = 1.3


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def final_nodes(model, dataset):
    neighbors = dense_adjacency(dataset) > 0
    mean = neighbors / np.maximum(neighbors.sum(axis=1, keepdims=True), 1)
    free = np.vstack([to_array(model.user_embedding), to_array(model.item_embedding)])
    results = []
    for branch, table in zip(model.branches, dataset.features.values(), strict=True):
        items = table.values.astype(float)
        if branch.projection is not None:
            items = apply_linear(branch.projection, items)
        nodes = unit(np.vstack([to_array(branch.preferences), items]))
        for layer in branch.layers:
            aggregated = leaky(mean @ apply_linear(layer.aggregate, nodes))
            own = leaky(apply_linear(layer.own, nodes)) + free
            nodes = leaky(apply_linear(layer.combine, np.hstack([aggregated, own])))
        results.append(nodes)
    return np.mean(results, axis=0)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_mmgcn(dataset, batch, n_layers):
    model = build_random_model(
        MMGCN, dataset, latent_widths={"image": 7}, n_layers=n_layers, reg=0.3
    )
    final = final_nodes(model, dataset)
    embedded = np.vstack([to_array(part) for part in model.embed()])
    np.testing.assert_allclose(embedded, final, rtol=1e-4, atol=1e-6)

    shift = dataset.n_users
    u, p, n = (
        rows.numpy() for rows in (batch.users, batch.positives + shift, batch.negatives + shift)
    )
    free = np.vstack([to_array(model.user_embedding), to_array(model.item_embedding)])
    squares = free[np.repeat(u, 2)] ** 2 + free[np.stack([p, n], axis=1).ravel()] ** 2
    penalty = squares.mean()
    for branch in model.branches:
        penalty += (to_array(branch.preferences) ** 2).mean()
    expected = log_sigmoid_loss(final[u], final[p], final[n]) + 0.3 * penalty
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_each_table_is_in_the_space_of_its_modality(dataset):
    model = build_random_model(MMGCN, dataset, latent_widths={"image": 7})
    free, image, text = model.user_tables()
    assert (free.space, image.space, text.space) == ("free", "projected", "raw")
    assert free.items is model.item_embedding
    assert (image.modality, text.modality) == ("image", "text")
    assert image.parameter.shape == (dataset.n_users, 7)
    assert text.parameter.shape == (dataset.n_users, 4)
    projected = apply_linear(model.branches[0].projection, dataset.features["image"].values)
    np.testing.assert_allclose(to_array(image.item_vectors()), projected, rtol=1e-4, atol=1e-6)


def test_frozen_tables_leave_projections_and_layers_to_train(batch):
    model = build_random_model(MMGCN, make_small_dataset(), latent_widths={"image": 7})
    freeze_(model)
    model.loss(batch).backward()
    kept = {"user_embedding", "item_embedding", "branches.0.preferences", "branches.1.preferences"}
    assert {name for name, p in model.named_parameters() if p.grad is None} == kept
    assert torch.isfinite(model.loss(batch))


def test_free_vectors_have_the_scale_of_one_joint_table():
    model = MMGCN(make_small_dataset(), MMGCN.Config(width=64))
    joint = torch.cat([model.user_embedding, model.item_embedding])
    assert joint.std().item() == pytest.approx((2 / (30 + 20 + 64)) ** 0.5, rel=0.1)
