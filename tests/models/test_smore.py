"""SMORE: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import (
    apply_linear,
    average_layers,
    build_random_model,
    dense_adjacency,
    dense_knn,
    log_sigmoid_loss,
    sigmoid,
    to_array,
)

from sgurinit.models import SMORE
from sgurinit.testing import RecommenderTests, make_small_dataset

THREE = {"image": 6, "keys": 3, "text.v2": 4}


class TestSMORE(RecommenderTests):
    model_class = SMORE


def transform(x):
    """Compute the orthonormal Fourier transform of each row by its definition."""
    n = x.shape[1]
    steps = np.arange(n)
    return x @ np.exp(-2j * np.pi * np.outer(steps, steps) / n) / np.sqrt(n)


def inverse(half, n):
    """Compute the real rows whose transform has `half` as its first ``n // 2 + 1`` values."""
    steps = np.arange(n)
    full = np.zeros((len(half), n), complex)
    full[:, : n // 2 + 1] = half
    for f in range(n // 2 + 1, n):
        full[:, f] = half[:, n - f].conj()
    # A real signal's mean, and its alternation for even n, have no imaginary part.
    full[:, 0] = full[:, 0].real
    if n % 2 == 0:
        full[:, n // 2] = full[:, n // 2].real
    return (full @ np.exp(2j * np.pi * np.outer(steps, steps) / n)).real / np.sqrt(n)


def parts(model, dataset, kept):
    """Compute behavior and side vectors densely, users first. `kept` scales the gates."""
    config, n_users = model.config, dataset.n_users
    width = config.width
    items = to_array(model.item_embedding)
    adjacency = dense_adjacency(dataset)
    behavior = average_layers(
        adjacency, np.vstack([to_array(model.user_embedding), items]), config.n_layers
    )
    spectra, graphs = [], []
    for m, (name, table) in enumerate(dataset.features.items()):
        values = table.values.astype(float)
        spectra.append(transform(apply_linear(model.projections[m], values))[:, : width // 2 + 1])
        graphs.append(dense_knn(values, config.modality_k.get(name, config.k), True))
    spectra.append(np.prod(spectra, axis=0))
    graphs.append(np.max(graphs, axis=0))
    tables = []
    for m, (spectrum, graph) in enumerate(zip(spectra, graphs, strict=True)):
        weights = to_array(model.filters[m])
        denoised = inverse(spectrum * (weights[:, 0] + 1j * weights[:, 1]), width)
        gated = items * sigmoid(apply_linear(model.gates[m], denoised))
        for _ in range(config.n_item_layers):
            gated = graph @ gated
        tables.append(np.vstack([adjacency[:n_users, n_users:] @ gated, gated]))
    side = 0
    for m, table in enumerate(tables):
        if m < len(dataset.features):
            first, _, second = model.queries[m]
            raised = np.exp(apply_linear(second, np.tanh(apply_linear(first, tables[-1]))))
            table = table * raised / raised.sum(axis=1, keepdims=True)  # noqa: PLW2901
        side += kept[m] * sigmoid(apply_linear(model.preferences[m], behavior)) * table
    return behavior, side / len(tables)


def expected_loss(model, dataset, batch, behavior, side):
    shift, config = dataset.n_users, model.config
    final = behavior + side
    u, p, n = (
        rows.numpy() for rows in (batch.users, batch.positives + shift, batch.negatives + shift)
    )
    loss = log_sigmoid_loss(final[u], final[p], final[n])
    loss += config.reg * sum((final[rows] ** 2).sum() for rows in (u, p, n)) / (2 * len(u))
    for rows in (u, p):
        one = side[rows] / np.linalg.norm(side[rows], axis=1, keepdims=True)
        two = behavior[rows] / np.linalg.norm(behavior[rows], axis=1, keepdims=True)
        similarity = np.exp(one @ two.T / config.temperature)
        loss -= config.contrast * np.log(np.diag(similarity) / similarity.sum(axis=1)).mean()
    return loss


@pytest.mark.parametrize("modalities", [None, {"text": 5}, THREE], ids=["two", "one", "three"])
@pytest.mark.parametrize("width", [4, 5])
def test_smore(batch, modalities, width):
    dataset = make_small_dataset(modalities)
    model = build_random_model(
        SMORE, dataset, k=3, modality_k={"image": 5}, n_layers=3, n_item_layers=2, contrast=0.3,
        reg=0.2, width=width,
    ).eval()  # fmt: skip
    behavior, side = parts(model, dataset, np.ones(len(dataset.features) + 1))
    embedded = np.vstack([to_array(part) for part in model.embed()])
    np.testing.assert_allclose(embedded, behavior + side, rtol=1e-4, atol=1e-6)
    expected = expected_loss(model, dataset, batch, behavior, side)
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_training_drops_values_of_the_preference_gates(dataset, batch):
    model = build_random_model(SMORE, dataset, dropout=0.4, contrast=0.3).train()
    nodes = torch.cat(
        [batch.users.unique(), dataset.n_users + torch.cat(batch[1:]).unique()]
    ).numpy()
    kept = [np.ones((dataset.n_users + dataset.n_items, 4)) for _ in range(3)]
    torch.manual_seed(5)
    for mask in kept:
        mask[nodes] = torch.nn.functional.dropout(torch.ones(len(nodes), 4), 0.4).numpy()
    torch.manual_seed(5)
    loss = model.loss(batch).item()
    expected = expected_loss(model, dataset, batch, *parts(model, dataset, kept))
    assert loss == pytest.approx(expected, rel=1e-4)
    assert torch.equal(model.eval().embed()[0], model.embed()[0])


def test_mixed_precision_transforms_in_float32(dataset, batch, monkeypatch):
    """On the CPU torch converts what is transformed, on CUDA devices it does not."""

    def keep(transform):
        def transform_as_on_cuda(x, *args, **kwargs):
            with torch.autocast("cpu", enabled=False):
                return transform(x, *args, **kwargs)

        return transform_as_on_cuda

    for name in ("rfft", "irfft"):
        monkeypatch.setattr(torch.fft, name, keep(getattr(torch.fft, name)))
    model = build_random_model(SMORE, dataset)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(batch)
    assert loss.isfinite()
