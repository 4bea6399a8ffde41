"""Dense float64 building blocks to compute the models' equations a second time."""

from __future__ import annotations

import numpy as np
import torch

from sgurinit.training.run import build_model


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Convert to float64."""
    return tensor.detach().double().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense_adjacency(dataset) -> np.ndarray:
    """Build the symmetrically normalized graph of users (first) and items."""
    interactions = np.zeros((dataset.n_users, dataset.n_items))
    interactions[dataset.train.users, dataset.train.items] = 1
    n = dataset.n_users + dataset.n_items
    full = np.zeros((n, n))
    full[: dataset.n_users, dataset.n_users :] = interactions
    full[dataset.n_users :, : dataset.n_users] = interactions.T
    degree = full.sum(axis=1)
    root = np.array([d**-0.5 if d else 0.0 for d in degree])
    return root[:, None] * full * root[None, :]


def average_layers(adjacency, nodes, n_layers):
    """Average `nodes` and their propagations, as LightGCN does."""
    layers = [nodes]
    for _ in range(n_layers):
        layers.append(adjacency @ layers[-1])
    return np.mean(layers, axis=0)


def dense_knn(values, k, weighted):
    """Build the normalized graph of each row's k nearest rows by cosine."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    similarity = unit @ unit.T
    kept = np.zeros_like(similarity)
    for row, line in enumerate(similarity):
        best = np.argsort(-line)[:k]
        kept[row, best] = np.maximum(line[best], 0) if weighted else 1
    root = kept.sum(axis=1) ** -0.5
    return root[:, None] * kept * root[None, :]


def log_sigmoid_loss(users, positives, negatives):
    """Compute the BPR loss of a batch's vectors."""
    margin = (users * positives).sum(1) - (users * negatives).sum(1)
    return -np.log(sigmoid(margin)).mean()


def apply_linear(layer, x):
    """Apply a linear layer in float64."""
    return x @ to_array(layer.weight).T + (0 if layer.bias is None else to_array(layer.bias))


def build_random_model(model_class, dataset, **fields):
    """Build a model whose weights are all random, including biases that are initially zero."""
    config = model_class.Config(**{"width": 4, **fields})
    model = build_model(model_class, dataset, config, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model
