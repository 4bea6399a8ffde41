"""Slow dense float64 parts that the models' equations are written once more with."""

from __future__ import annotations

import numpy as np
import torch

from sgurinit.training.run import build_model


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense_adjacency(dataset) -> np.ndarray:
    interactions = np.zeros((dataset.n_users, dataset.n_items))
    interactions[dataset.train.users, dataset.train.items] = 1
    n = dataset.n_users + dataset.n_items
    full = np.zeros((n, n))
    full[: dataset.n_users, dataset.n_users :] = interactions
    full[dataset.n_users :, : dataset.n_users] = interactions.T
    degree = full.sum(axis=1)
    root = np.array([d**-0.5 if d else 0.0 for d in degree])
    return root[:, None] * full * root[None, :]


def layer_mean(adjacency, nodes, n_layers):
    layers = [nodes]
    for _ in range(n_layers):
        layers.append(adjacency @ layers[-1])
    return np.mean(layers, axis=0)


def dense_knn(values, k, weighted):
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    similarity = unit @ unit.T
    kept = np.zeros_like(similarity)
    for row, line in enumerate(similarity):
        best = np.argsort(-line)[:k]
        kept[row, best] = np.maximum(line[best], 0) if weighted else 1
    root = kept.sum(axis=1) ** -0.5
    return root[:, None] * kept * root[None, :]


def log_sigmoid_loss(users, positives, negatives):
    margin = (users * positives).sum(1) - (users * negatives).sum(1)
    return -np.log(sigmoid(margin)).mean()


def linear(layer, x):
    return x @ array(layer.weight).T + (0 if layer.bias is None else array(layer.bias))


def built(kind, dataset, **fields):
    """A model whose every weight is random, biases that start at zero among them."""
    model = build_model(kind, dataset, kind.Config(**{"width": 4, **fields}), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return model
