"""SLMRec: what holds for every model, and its equations written once more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import array, built, dense_adjacency, layer_mean, linear

from sgurinit.models import Batch, SLMRec
from sgurinit.models.slmrec import contrast
from sgurinit.testing import RecommenderTests, small_dataset


class TestSLMRec(RecommenderTests):
    kind = SLMRec


def info_nce(view, other, temperature):
    products = np.exp(view @ other.T / temperature)
    return -np.log(np.diag(products) / products.sum(axis=1)).mean()


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize(
    "modalities",
    [{"text": 5}, {"image": 6, "text": 4}, {"image": 50, "text": 4, "audio": 3}],
    ids=["one", "two", "three, one wide"],
)
def test_slmrec(batch, modalities, n_layers):
    dataset = small_dataset(modalities, absent={"image": [3]})
    model = built(
        SLMRec, dataset, n_layers=n_layers, contrast=0.7, contrast_temperature=0.4, reg=0.01
    )
    users, items = array(model.user_embedding), array(model.item_embedding)
    adjacency = dense_adjacency(dataset)
    starts = [items]
    for m, table in enumerate(dataset.features.values()):
        values = np.nan_to_num(table.values.astype(float))
        length = np.linalg.norm(values, axis=1, keepdims=True)
        starts.append(linear(model.projections[m], values / np.where(length > 0, length, 1)))
    views = [layer_mean(adjacency, np.vstack([users, start]), n_layers) for start in starts]
    joined = np.hstack(views)
    final_users = linear(model.user_fuser, joined[: dataset.n_users])
    final_items = linear(model.item_fuser, joined[dataset.n_users :])
    for part, expected in zip(model.embed(), (final_users, final_items), strict=True):
        np.testing.assert_allclose(array(part), expected, rtol=1e-4, atol=1e-5)

    u, i = final_users[batch.users], final_items[batch.positives]
    u, i = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, i))
    expected = info_nce(u, i, 0.2)
    behaviour, *content = (view[dataset.n_users + batch.positives.numpy()] for view in views)
    for m, view in enumerate(content):
        behaviour = linear(model.behaviour_maps[m], behaviour)
        expected += 0.7 * info_nce(behaviour, linear(model.modality_maps[m], view), 0.4)
    expected += 0.01 * sum((array(p) ** 2).sum() for p in model.parameters()) / 2
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_last_of_several_spaces_has_half_the_width():
    def widths(modalities):
        model = built(SLMRec, small_dataset(modalities))
        return [len(layer.bias) for layer in (*model.behaviour_maps, *model.modality_maps)]

    assert widths({"a": 3}) == [4, 4]
    assert widths({"a": 3, "b": 3, "c": 3}) == [4, 4, 2, 4, 4, 2]


def test_contrast_of_distinct_rows_equals_that_of_the_repeated_ones_however_large():
    view, other = 40 * torch.randn(3, 4), 40 * torch.randn(2, 4)
    rows, columns = torch.tensor([0, 2, 1, 2, 2]), torch.tensor([1, 0, 1, 1, 0])
    expected = torch.nn.functional.cross_entropy(
        view[rows] @ other[columns].T, torch.arange(len(rows))
    )
    torch.testing.assert_close(contrast(view, other, rows, columns), expected)


def test_negatives_go_unread(dataset, batch):
    model = built(SLMRec, dataset)
    other = Batch(batch.users, batch.positives, batch.negatives.flip(0))
    assert torch.equal(model.loss(batch), model.loss(other))
