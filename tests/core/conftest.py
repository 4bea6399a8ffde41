"""Generated data, and a slow float64 reference that follows the equations with loops."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

import sgurinit.core.semantic_gap
import sgurinit.core.steps.clusters
import sgurinit.core.steps.joint
import sgurinit.core.steps.space
from sgurinit.core import ItemFeatures
from sgurinit.core.content_agreement import compute_content_agreement
from sgurinit.core.steps.processor import NUMPY
from sgurinit.data import load_dataset, planted


@dataclass
class Case:
    """Interactions as a list of item arrays per user, and features, for the reference."""

    matrix: sp.csr_array
    features: dict[str, ItemFeatures]
    memory: dict = field(default_factory=dict)

    @cached_property
    def baskets(self) -> list[np.ndarray]:
        rows = self.matrix.tolil().rows
        return [np.array(sorted(row), dtype=int) for row in rows]

    def once(self, key, compute):
        """Compute something slow once per case."""
        if key not in self.memory:
            self.memory[key] = compute()
        return self.memory[key]


def reference_preprocess(table: ItemFeatures, steps) -> np.ndarray:
    """All rows in float64, absent ones as zero; all-zero rows take no part."""
    present = np.ones(len(table.values), bool) if table.present is None else table.present
    rows = np.zeros(table.values.shape, dtype=np.float64)
    rows[present] = table.values[present].astype(np.float64)
    used = [i for i in range(len(rows)) if present[i] and np.any(rows[i] != 0)]
    for step in steps:
        part = rows[used]
        if step == "center":
            part = part - part.mean(axis=0)
        elif step == "unit":
            part = np.stack([row / np.linalg.norm(row) if row.any() else row for row in part])
        else:
            scores, deviations = reference_pca(part)
            part = np.zeros_like(part)
            part[:, : scores.shape[1]] = scores / deviations
        rows[used] = part
    return rows


def reference_pca(rows: np.ndarray, dim: int | None = None):
    """Scores and deviations by a full SVD; each axis' largest entry is positive."""
    centered = rows - rows.mean(axis=0)
    with threadpool_limits(limits=1):  # threads that wait for each other make it slow
        _, singular, axes = np.linalg.svd(centered, full_matrices=False)
    rank = int((singular**2 > 1e-10 * singular[0] ** 2).sum())
    keep = rank if dim is None else min(rank, dim)
    axes = axes[:keep]
    axes = np.stack([axis * np.sign(axis[np.argmax(np.abs(axis))]) for axis in axes])
    return centered @ axes.T, singular[:keep] / np.sqrt(len(rows) - 1)


def reference_blocks(features: dict[str, ItemFeatures], dim: int) -> list[np.ndarray]:
    """Each modality by itself, of mean row norm one; zero for an item without a row."""
    blocks = []
    for table in features.values():
        present = np.ones(len(table.values), bool) if table.present is None else table.present
        rows = reference_preprocess(table, ("center", "unit"))
        used = [i for i in range(len(rows)) if present[i] and np.any(table.values[i] != 0)]
        scores, _ = reference_pca(rows[used], dim)
        block = np.zeros((len(rows), scores.shape[1]))
        block[used] = scores / np.mean([np.linalg.norm(row) for row in scores])
        blocks.append(block)
    return blocks


def reference_content(features: dict[str, ItemFeatures], dim: int):
    """Content of a free space; returns items and who is present in any modality."""
    anywhere = np.zeros(len(next(iter(features.values())).values), bool)
    for table in features.values():
        anywhere |= True if table.present is None else table.present
    joined = np.concatenate(reference_blocks(features, dim), axis=1)
    items = np.zeros((len(joined), dim))
    items[anywhere] = reference_pca(joined[anywhere], dim)[0]
    return items, anywhere


def reference_content_rows(case: Case, dim: int) -> np.ndarray:
    """Unit content rows of the item model: modalities weighted by agreement, at twice the width."""
    blocks = reference_blocks(case.features, 2 * dim)
    beyond = []
    for block in blocks:
        found = compute_content_agreement(case.matrix, ItemFeatures(block))
        beyond.append(max(found.value - found.chance, 0.0))
    weights = np.array(beyond) / sum(beyond)
    joined = np.hstack([np.sqrt(w) * block for w, block in zip(weights, blocks, strict=True)])
    described = np.any([block.any(axis=1) for block in blocks], axis=0)
    rows = np.zeros((len(joined), joined.shape[1]))
    scores, _ = reference_pca(joined[described], 2 * dim)
    rows[described, : scores.shape[1]] = [row / np.linalg.norm(row) for row in scores]
    return rows


def reference_gram(baskets, n_items: int) -> np.ndarray:
    """``X^T X`` of the normalized interactions, entry by entry."""
    counts = np.zeros(n_items)
    for basket in baskets:
        counts[basket] += 1
    normalized = np.zeros((len(baskets), n_items))
    for user, basket in enumerate(baskets):
        for item in basket:
            normalized[user, item] = (len(basket) + 1) ** -0.5 * (counts[item] + 1) ** -0.25
    return normalized.T @ normalized


def reference_item_model(baskets, n_items: int, content, penalty, content_weight) -> np.ndarray:
    """Partial correlations S, by inverting a matrix of items times items."""
    gram = reference_gram(baskets, n_items)
    unit = np.mean([entry for entry in np.diag(gram) if entry > 0])
    inverse = np.linalg.inv(
        gram + penalty * unit * np.eye(n_items) + content_weight * unit * content @ content.T
    )
    found = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            if i != j:
                found[i, j] = -inverse[i, j] / np.sqrt(inverse[i, i] * inverse[j, j])
    return found


def reference_reduced(baskets, model: np.ndarray, dim: int) -> np.ndarray:
    """``E E^T``, the model within the leading directions of what it predicts for the users."""
    predicted = np.zeros((len(baskets), len(model)))
    for user, basket in enumerate(baskets):
        if len(basket):
            predicted[user] = model[basket].sum(axis=0) / np.sqrt(len(basket))
    _, lengths, directions = np.linalg.svd(predicted, full_matrices=False)
    directions = directions[lengths > 1e-5 * lengths[0]][:dim].T
    values, vectors = np.linalg.eigh(directions.T @ model @ directions)
    turned = directions @ vectors
    return (turned * np.maximum(values, 0)) @ turned.T


def reference_joint(case: Case, dim: int, penalty: float, content_weight: float):
    """Items of a collaborative joint space up to a rotation, and who has a row."""
    n_items = case.matrix.shape[1]
    content = reference_content_rows(case, dim)
    model = reference_item_model(case.baskets, n_items, content, penalty, content_weight)
    products = reference_reduced(case.baskets, model, dim)
    values, vectors = np.linalg.eigh(products)
    rows = vectors * np.sqrt(np.maximum(values, 0))
    popularity = np.zeros(n_items)
    for basket in case.baskets:
        popularity[basket] += 1
    present = popularity > 0
    placed = {}
    if content_weight != 0:
        placed = reference_places(rows, content, popularity)
    for item in np.flatnonzero(~present):
        rows[item] = placed.get(item, 0)
        present[item] = item in placed
    return rows / np.mean([np.linalg.norm(row) for row in rows[present]]), present


def reference_places(rows, content, popularity, n_neighbors=20) -> dict[int, np.ndarray]:
    """Rows of items without users: the mean over used items that are nearest by content."""
    used = [item for item in np.flatnonzero(popularity) if content[item].any()]
    placed = {}
    for item in np.flatnonzero(popularity == 0):
        cosines = sorted((float(content[item] @ content[other]), other) for other in used)[::-1]
        if not cosines:
            continue
        last = cosines[: min(n_neighbors, len(cosines))][-1][0]
        near = [(cosine, other) for cosine, other in cosines if cosine > max(last - 1e-6, 1e-6)]
        if near:
            total = sum(cosine for cosine, _ in near)
            placed[int(item)] = sum(cosine * rows[other] for cosine, other in near) / total
    return placed


def reference_centroids(rows, labels) -> np.ndarray:
    return np.stack([rows[labels == k].mean(axis=0) for k in range(labels.max() + 1)])


def reference_parts(baskets, rows, present, labels, norm):
    """Local and global part of every user, user by user; None where the user has no item."""
    popularity = np.zeros(len(rows))
    for basket in baskets:
        popularity[basket] += 1
    centroids = reference_centroids(rows, labels)
    weights = [popularity[labels == k].sum() for k in range(len(centroids))]
    fallback = np.average(centroids, axis=0, weights=weights)
    local = np.empty((len(baskets), rows.shape[1]))
    cluster = np.empty_like(local)
    for user, basket in enumerate(baskets):
        items = basket[present[basket]]
        if len(items) == 0:
            local[user] = cluster[user] = fallback
            continue
        if norm == "sym":
            scale = np.sqrt(len(items) * popularity[items])[:, None]
        else:
            scale = float(len(items))
        local[user] = (rows[items] / scale).sum(axis=0)
        cluster[user] = centroids[labels[items]].mean(axis=0)
    return local, cluster


def assert_rows_close(found, expected, tolerance=1e-5):
    """Every row differs by at most `tolerance` of its norm."""
    assert found.shape == expected.shape
    difference = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    allowed = tolerance * np.linalg.norm(expected, axis=1)
    worst = int(np.argmax(difference - allowed))
    assert difference[worst] <= allowed[worst], (worst, difference[worst], allowed[worst])


@pytest.fixture(scope="session")
def reference() -> types.SimpleNamespace:
    return types.SimpleNamespace(
        preprocess=reference_preprocess,
        pca=reference_pca,
        content=reference_content,
        joint=reference_joint,
        gram=reference_gram,
        item_model=reference_item_model,
        reduced=reference_reduced,
        places=reference_places,
        centroids=reference_centroids,
        parts=reference_parts,
        assert_close=assert_rows_close,
        case=Case,
    )


def make_case(n_users=60, n_items=40, widths=(6, 9), seed=0, gaps=False) -> Case:
    """Random interactions with users and items that have none; `gaps` leaves rows out."""
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < 0.1
    dense[:2] = False  # users without interactions
    dense[:, -3:] = False  # items without interactions
    dense[2] = False
    dense[2, 0] = True  # a user whose only item has no row where there are gaps
    features = {}
    for number, width in enumerate(widths):
        topics = rng.integers(0, 5, n_items)
        values = rng.normal(size=(5, width))[topics] * 3 + rng.normal(size=(n_items, width)) + 2
        present = None
        if gaps:
            present = rng.random(n_items) < 0.8
            present[0], present[1:9] = False, True
            values[~present] = np.nan
            values[5] = 0.0
        features[f"m{number}"] = ItemFeatures(values, present)
    return Case(sp.csr_array(dense.astype(float)), features)


@pytest.fixture
def made():
    """Build a case: ``made(gaps=True, widths=(4,))``."""
    return make_case


@pytest.fixture(scope="session")
def small() -> Case:
    return make_case()


@pytest.fixture(scope="session")
def gappy() -> Case:
    return make_case(gaps=True, seed=1)


@pytest.fixture(scope="session")
def planted_case() -> Case:
    dataset = planted(300, 200, seed=3)
    return Case(sp.csr_array(dataset.train_matrix()), dict(dataset.features))


@pytest.fixture(scope="session")
def tiktok_case(tiktok_path) -> Case:
    dataset = load_dataset(tiktok_path)
    return Case(sp.csr_array(dataset.train_matrix()), dict(dataset.features))


@pytest.fixture
def quick(monkeypatch):
    """Remember clusterings and joint spaces, so that a grid of options on real data is quick."""
    return _remember(monkeypatch)


def _remember(monkeypatch):
    clustered, joined = _CLUSTERED, _JOINED
    cluster_rows = sgurinit.core.steps.clusters.cluster_rows
    compute_content_items = sgurinit.core.steps.joint.compute_content_items

    def remembered_clusters(rows, n_clusters, seed, backend, processor):
        key = (rows.shape, str(rows.dtype), hash(rows.tobytes()), n_clusters, seed, backend)
        if key not in clustered:
            clustered[key] = cluster_rows(rows, n_clusters, seed, backend, processor)
        return clustered[key]

    def remembered_content(features, dim, n_jobs=None, processor=NUMPY):
        key = (tuple(hash(t.values.tobytes()) for t in features.values()), dim)
        if key not in joined:
            joined[key] = compute_content_items(features, dim, n_jobs, processor)
        return joined[key]

    monkeypatch.setattr(sgurinit.core.steps.space, "cluster_rows", remembered_clusters)
    monkeypatch.setattr(sgurinit.core.steps.joint, "compute_content_items", remembered_content)
    monkeypatch.setattr(sgurinit.core.semantic_gap, "_SAMPLE", 50)
    monkeypatch.setattr(sgurinit.core.semantic_gap, "_measure_separability", lambda *_: None)


_CLUSTERED: dict = {}
_JOINED: dict = {}
