"""Content in a collaborative joint space: modalities without weight, and the order of the items."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import scipy.sparse as sp

from sgurinit import ItemFeatures, SGURInit
from sgurinit.data import planted


def fit_items(matrix, features):
    parameters = {"collaborative": True, "content_weight": 1.0, "penalty": 10.0}
    return SGURInit(**parameters, random_state=0).fit(matrix, features).start_.joint(8).items


def test_a_modality_without_weight_is_left_out(monkeypatch):
    """Its items without other features have no content: not the rounding errors of zeros."""

    def measure(_, table):
        return SimpleNamespace(value=0.4 if table.width == 16 else 0.1, chance=0.2)

    monkeypatch.setattr("sgurinit.core.steps.joint.compute_content_agreement", measure)
    data = planted(200, 100)
    matrix = data.train_matrix().tolil()
    matrix[:, 0] = 0
    text = data.features["text"].values
    has_text = np.arange(len(text)) % 10 > 0
    features = {"text": ItemFeatures(text, has_text), "image": ItemFeatures(text[:, :3].copy())}
    items = fit_items(sp.csr_array(matrix), features)
    alone = fit_items(sp.csr_array(matrix), {"text": features["text"]})
    np.testing.assert_array_equal(items, alone)
    assert not items[0].any()


def test_items_keep_their_rows_in_any_order_where_content_has_few_directions():
    data = planted(200, 100)
    matrix, rows = data.train_matrix(), data.features["text"].values[:, :3]
    items = fit_items(matrix, {"text": ItemFeatures(rows)})
    order = np.random.default_rng(0).permutation(len(rows))
    again = fit_items(sp.csr_array(matrix[:, order]), {"text": ItemFeatures(rows[order])})
    np.testing.assert_allclose(again, items[order], atol=1e-6 * np.abs(items).max())


def test_items_keep_their_rows_in_any_order_where_neighbors_tie_or_are_sampled(monkeypatch):
    """Weights of modalities then depend on random choices, but not on the order of the items."""
    monkeypatch.setattr("sgurinit.core.content_agreement._WORK", 1)
    monkeypatch.setattr("sgurinit.core.content_agreement._FEWEST", 20)
    data = planted(200, 100)
    matrix, text = data.train_matrix(), data.features["text"].values
    features = {"text": np.round(text[:, :16]), "image": text[:, 16:].copy()}
    items = fit_items(matrix, {name: ItemFeatures(rows) for name, rows in features.items()})
    order = np.random.default_rng(0).permutation(len(text))
    moved = {name: ItemFeatures(rows[order]) for name, rows in features.items()}
    again = fit_items(sp.csr_array(matrix[:, order]), moved)
    np.testing.assert_allclose(again, items[order], atol=1e-6 * np.abs(items).max())
