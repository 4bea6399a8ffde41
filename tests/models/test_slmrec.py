"""SLMRec: the tests of every model, and its equations in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import apply_linear, average_layers, build_random_model, dense_adjacency, to_array

from sgurinit.models import Batch, SLMRec
from sgurinit.models.blocks.distinct import find_distinct
from sgurinit.models.slmrec import pair_info_nce_loss
from sgurinit.testing import RecommenderTests, make_small_dataset


class TestSLMRec(RecommenderTests):
    model_class = SLMRec


def info_nce_loss(view, other, temperature):
    products = np.exp(view @ other.T / temperature)
    return -np.log(np.diag(products) / products.sum(axis=1)).mean()


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize(
    "modalities",
    [{"text": 5}, {"image": 6, "text": 4}, {"image": 50, "text": 4, "audio": 3}],
    ids=["one", "two", "three, one wide"],
)
def test_slmrec(batch, modalities, n_layers):
    dataset = make_small_dataset(modalities, absent={"image": [3]})
    model = build_random_model(
        SLMRec, dataset, n_layers=n_layers, contrast=0.7, contrast_temperature=0.4, reg=0.01
    )
    users, items = to_array(model.user_embedding), to_array(model.item_embedding)
    adjacency = dense_adjacency(dataset)
    tables = [items]
    for m, table in enumerate(dataset.features.values()):
        values = np.nan_to_num(table.values.astype(float))
        length = np.linalg.norm(values, axis=1, keepdims=True)
        tables.append(apply_linear(model.projections[m], values / np.where(length > 0, length, 1)))
    views = [average_layers(adjacency, np.vstack([users, table]), n_layers) for table in tables]
    joined = np.hstack(views)
    final_users = apply_linear(model.user_fuser, joined[: dataset.n_users])
    final_items = apply_linear(model.item_fuser, joined[dataset.n_users :])
    for part, expected in zip(model.embed(), (final_users, final_items), strict=True):
        np.testing.assert_allclose(to_array(part), expected, rtol=1e-4, atol=1e-5)

    u, i = final_users[batch.users], final_items[batch.positives]
    u, i = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, i))
    expected = info_nce_loss(u, i, 0.2)
    behavior, *content = (view[dataset.n_users + batch.positives.numpy()] for view in views)
    for m, view in enumerate(content):
        behavior = apply_linear(model.behavior_maps[m], behavior)
        expected += 0.7 * info_nce_loss(behavior, apply_linear(model.modality_maps[m], view), 0.4)
    expected += 0.01 * sum((to_array(p) ** 2).sum() for p in model.parameters()) / 2
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_last_of_several_spaces_has_half_the_width():
    def widths(modalities):
        model = build_random_model(SLMRec, make_small_dataset(modalities))
        return [len(layer.bias) for layer in (*model.behavior_maps, *model.modality_maps)]

    assert widths({"a": 3}) == [4, 4]
    assert widths({"a": 3, "b": 3, "c": 3}) == [4, 4, 2, 4, 4, 2]


def test_contrast_of_distinct_rows_equals_that_of_repeated_rows_even_if_large():
    view, other = 40 * torch.randn(3, 4), 40 * torch.randn(2, 4)
    one, two = (find_distinct(torch.tensor(x)) for x in ([0, 2, 1, 2, 2], [1, 0, 1, 1, 0]))
    expected = torch.nn.functional.cross_entropy(
        view[one.rows] @ other[two.rows].T, torch.arange(len(one.rows))
    )
    torch.testing.assert_close(pair_info_nce_loss(view, other, one, two), expected)


def test_negatives_are_not_used(dataset, batch):
    model = build_random_model(SLMRec, dataset)
    other = Batch(batch.users, batch.positives, batch.negatives.flip(0))
    assert torch.equal(model.loss(batch), model.loss(other))
