"""LATTICE: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import build_random_model
from torch.nn.functional import logsigmoid

from sgurinit.models import LATTICE
from sgurinit.testing import RecommenderTests, make_small_dataset


class TestLATTICE(RecommenderTests):
    model_class = LATTICE


def dense_neighbors(vectors, k):
    """Keep the positive cosines of each row's k nearest rows. Rows of zeros have none."""
    some = vectors.norm(dim=1) > 0
    unit = torch.zeros_like(vectors)
    unit[some] = vectors[some] / vectors[some].norm(dim=1, keepdim=True)
    similarity = unit @ unit.T
    kept = torch.zeros_like(similarity, dtype=torch.bool)
    for row in some.nonzero()[:, 0]:
        line = similarity[row].detach().masked_fill(~some, -torch.inf)
        kept[row, line.argsort(descending=True)[:k]] = True
    return torch.where(kept, similarity.clamp(min=0), 0)


def normalize_densely(adjacency):
    degrees = adjacency.sum(dim=1)
    some = degrees > 0
    root = torch.where(some, torch.where(some, degrees, 1) ** -0.5, 0)
    return torch.diag(root) @ adjacency @ torch.diag(root)


def embed_densely(model, dataset):
    """Compute final vectors by the authors' formulas; also return the parameters in float64."""
    p = {name: q.detach().double().requires_grad_() for name, q in model.named_parameters()}
    config = model.config
    shares = p["modality_logits"].exp() / p["modality_logits"].exp().sum()
    learned, initial = 0, 0
    for m, table in enumerate(dataset.features.values()):
        values = torch.tensor(np.nan_to_num(table.values.astype(float)))
        projected = values @ p[f"projections.{m}.weight"].T + p[f"projections.{m}.bias"]
        projected = projected * torch.tensor(table.mask(), dtype=float)[:, None]
        learned = learned + shares[m] * dense_neighbors(projected, config.k)
        initial = initial + shares[m] * normalize_densely(dense_neighbors(values, config.k))
    item_graph = (1 - config.skip) * normalize_densely(learned) + config.skip * initial
    related = p["item_embedding"]
    for _ in range(config.n_item_layers):
        related = item_graph @ related
    length = related.norm(dim=1, keepdim=True)
    related = related / torch.where(length > 0, length, 1)
    n = dataset.n_users + dataset.n_items
    adjacency = torch.eye(n, dtype=float)
    users = torch.tensor(dataset.train.users)
    items = dataset.n_users + torch.tensor(dataset.train.items)
    adjacency[users, items] = 1
    adjacency[items, users] = 1
    adjacency = adjacency / adjacency.sum(dim=1, keepdim=True)
    layers = [torch.cat([p["user_embedding"], p["item_embedding"]])]
    for _ in range(config.n_layers):
        layers.append(adjacency @ layers[-1])
    users, items = torch.stack(layers).mean(dim=0).split([dataset.n_users, dataset.n_items])
    return users, items + related, p


@pytest.mark.parametrize("k", [4, 15])
@pytest.mark.parametrize("absent", [{}, {"image": [3, 4], "text": [4, 6]}], ids=["all", "absent"])
def test_lattice(batch, absent, k):
    dataset = make_small_dataset(absent=absent)
    model = build_random_model(LATTICE, dataset, k=k, n_item_layers=2, skip=0.3, reg=0.2)
    users, items, parameters = embed_densely(model, dataset)
    for part, expected in zip(model.embed(), (users, items), strict=True):
        torch.testing.assert_close(part.double(), expected, rtol=1e-4, atol=1e-6)
    model.begin_epoch(0)
    loss = model.loss(batch)
    u, p, n = users[batch.users], items[batch.positives], items[batch.negatives]
    expected = -logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean()
    expected = expected + 0.2 * sum((x**2).sum() for x in (u, p, n)) / (2 * len(u))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    loss.backward()
    expected.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad.double(), parameters[name].grad, rtol=1e-3, atol=1e-6, msg=name
        )


def test_the_graph_is_learned_in_an_epochs_first_batch_and_held_for_the_rest(dataset, batch):
    model = build_random_model(LATTICE, dataset, k=4, skip=0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    learned = [model.modality_logits, *model.projections.parameters()]
    for _ in range(2):
        model.begin_epoch(0)
        held = []
        for step in range(3):
            optimizer.zero_grad()
            before = [parameter.clone() for parameter in learned]
            model.loss(batch).backward()
            held.append(model._item_graph()[1])
            optimizer.step()
            for parameter, old in zip(learned, before, strict=True):
                assert torch.equal(parameter, old) == (step > 0)
        assert torch.equal(held[0], held[1])
        assert torch.equal(held[0], held[2])
        assert not torch.equal(model._build_item_graph()[1], held[0])


def test_inference_uses_the_present_weights_not_the_held_graph(dataset, batch):
    model = build_random_model(LATTICE, dataset, k=4, skip=0.3)
    model.loss(batch)
    with torch.no_grad():
        for parameter in model.projections.parameters():
            parameter.add_(torch.randn_like(parameter))
    expected = embed_densely(model, dataset)[1]
    torch.testing.assert_close(model.eval().embed()[1].double(), expected, rtol=1e-4, atol=1e-6)


def test_training_continues_after_scores_in_inference_mode(dataset, batch):
    model = build_random_model(LATTICE, dataset, k=4)
    with torch.inference_mode():
        model.make_scorer()
    model.begin_epoch(0)
    model.loss(batch).backward()
    assert all(parameter.grad.any() for parameter in model.projections.parameters())
