"""Starts land in a model's tables: the three spaces, the scales, the reports."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sgurinit.core import SGURInit
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.handover import hand_over, initialize_
from sgurinit.models import VBPR, LightGCN, Recommender, UserTable
from sgurinit.training.run import build_model

WIDTH = 16


@pytest.fixture(scope="module")
def dataset():
    return planted(300, 120, seed=2)


@pytest.fixture(scope="module")
def start(dataset):
    return SGURInit(n_clusters=5, local_weight=0.4, collaborative=0, random_state=0).fit(dataset).start_


def mean_norm(table: torch.Tensor) -> float:
    return float(table.detach().norm(dim=1).mean())


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def directions_equal(table: torch.Tensor, rows: np.ndarray) -> None:
    np.testing.assert_allclose(unit(table.detach().numpy()), unit(rows), atol=1e-5)


def test_a_free_table_starts_from_the_reduced_space_at_its_own_scale(dataset, start):
    # As the paper: users alone.
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    users, items = (p.detach().clone() for p in (model.user_embedding, model.item_embedding))
    (report,) = hand_over(model, start, scale="table", items="random")
    directions_equal(model.user_embedding, start.joint(WIDTH).users)
    assert mean_norm(model.user_embedding) == pytest.approx(mean_norm(users), rel=1e-5)
    assert torch.equal(model.item_embedding, items)
    assert report.norm_before == pytest.approx(mean_norm(users))
    assert report.norm_after == pytest.approx(mean_norm(model.user_embedding))
    assert report.norm_start == pytest.approx(
        mean_norm(torch.tensor(start.joint(WIDTH).users)), rel=1e-5
    )
    assert not report.items_filled


def test_the_item_table_can_share_the_space(dataset, start):
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    before = mean_norm(model.item_embedding)
    (report,) = hand_over(model, start, scale="table")
    directions_equal(model.item_embedding, start.joint(WIDTH).items)
    assert mean_norm(model.item_embedding) == pytest.approx(before, rel=1e-5)
    assert report.items_filled


def test_a_projected_table_starts_in_the_space_of_the_models_own_projection(dataset, start):
    model = build_model(VBPR, dataset, VBPR.Config(width=WIDTH), seed=0)
    hand_over(model, start)
    for position, modality in enumerate(dataset.features):
        projected = model.user_tables()[1 + position].project().detach().numpy()
        users, _ = start.on(projected)
        directions_equal(model.user_content[position], users)
        # The projection is linear, so the local half may be projected before or after summing.
        local = SGURInit(n_clusters=5, local_weight=1.0, local_norm="sym", random_state=0).fit(dataset).start_
        active = np.unique(dataset.train.users)
        largest = np.abs(dataset.features[modality].values).max()  # VBPR's own scaling
        np.testing.assert_allclose(
            local.on(projected)[0][active],
            (local.users[modality] / largest @ model.projections[position].detach().numpy())[
                active
            ],
            atol=1e-5 * np.abs(projected).max(),
        )


class RawUsers(Recommender):
    """A model that keeps users at a modality's own width."""

    citation = "none"

    def __init__(self, dataset):
        super().__init__(dataset)
        self.users = nn.Parameter(torch.randn(dataset.n_users, dataset.features["text"].width))

    def embed(self):
        raise AssertionError("not trained here")

    def loss(self, batch):
        raise AssertionError("not trained here")

    def user_tables(self):
        return [UserTable("users", self.users, "raw", modality="text")]


def test_both_sides_start_at_four_times_their_own_norm(dataset, start):
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    users, items = mean_norm(model.user_embedding), mean_norm(model.item_embedding)
    hand_over(model, start)
    assert mean_norm(model.user_embedding) == pytest.approx(4 * users, rel=1e-5)
    assert mean_norm(model.item_embedding) == pytest.approx(4 * items, rel=1e-5)
    directions_equal(model.user_embedding, start.joint(WIDTH).users)


@pytest.mark.parametrize(
    ("scale", "target"), [("table", "norm_before"), ("items", "norm_items"), (None, "norm_start")]
)
def test_a_raw_table_takes_the_start_as_it_is_but_for_its_scale(dataset, start, scale, target):
    model = RawUsers(dataset)
    (report,) = hand_over(model, start, scale=scale)
    directions_equal(model.users, start.users["text"])
    assert mean_norm(model.users) == pytest.approx(getattr(report, target), rel=1e-5)
    norms = np.linalg.norm(dataset.features["text"].values, axis=1)
    assert report.norm_items == pytest.approx(norms.mean(), rel=1e-5)


def test_foreign_embeddings_are_filled_in_place(start):
    users = nn.Embedding(start.n_users, WIDTH)
    items = nn.Embedding(start.n_items, WIDTH)
    address = users.weight.data_ptr()
    report = initialize_(users, start, items=items)
    assert users.weight.data_ptr() == address
    directions_equal(users.weight, start.joint(WIDTH).users)
    directions_equal(items.weight, start.joint(WIDTH).items)
    assert report.items_filled
    assert users.weight.requires_grad


def test_a_foreign_table_in_the_space_of_its_modules_projection(dataset, start):
    projected = torch.tensor(dataset.features["text"].values) @ torch.randn(32, 8)
    table = nn.Parameter(torch.randn(start.n_users, 8))
    initialize_(table, start, space="projected", modality="text", project=projected)
    directions_equal(table, start.on(projected.numpy())[0])


@pytest.mark.parametrize("space", ["projected", "raw"])
def test_who_uses_an_item_is_carried_into_a_modalitys_space(dataset, space):
    start = SGURInit(n_clusters=4, collaborative=0.5, random_state=0).fit(dataset).start_
    values = dataset.features["text"].values
    project = torch.tensor(values) @ torch.randn(32, 8) if space == "projected" else None
    items = values if project is None else project.numpy()
    table = nn.Parameter(torch.randn(start.n_users, items.shape[1]))
    report = initialize_(table, start, space=space, modality="text", project=project)
    directions_equal(table, start.carry_to(items))
    assert report.norm_items == pytest.approx(np.linalg.norm(items, axis=1).mean(), rel=1e-5)


def test_a_free_table_wider_than_the_features_keeps_zero_columns_and_says_so(dataset):
    narrow = {"text": dataset.features["text"].values[:, :5]}
    estimator = SGURInit(n_clusters=4, collaborative=0, random_state=0)
    start = estimator.fit(dataset.train_matrix(), narrow).start_
    table = nn.Parameter(torch.randn(start.n_users, WIDTH))
    report = initialize_(table, start, scale="table")
    assert report.columns_filled == 5
    assert not table[:, 5:].any()
    assert report.norm_after == pytest.approx(report.norm_before, rel=1e-5)


def test_a_saved_start_fills_the_width_it_was_saved_with(dataset, tmp_path):
    fitted = SGURInit(n_clusters=5, joint_dim=WIDTH, random_state=0).fit(dataset).start_
    fitted.save(tmp_path / "start.safetensors")
    loaded = type(fitted).load(tmp_path / "start.safetensors")
    one, two = (nn.Parameter(torch.ones(fitted.n_users, WIDTH)) for _ in range(2))
    initialize_(one, fitted)
    initialize_(two, loaded)
    torch.testing.assert_close(one, two)


def test_what_does_not_fit_is_said_in_one_line(start):
    table = nn.Parameter(torch.randn(start.n_users, WIDTH))
    cases = [
        ((nn.Parameter(torch.randn(7, WIDTH)), {}), "has 7 rows, the start has 300 users"),
        ((table, {"space": "raw", "modality": "sound"}), "'sound'.*it has image, text"),
        ((table, {"space": "raw", "modality": "text"}), "must be equal"),
        ((table, {"space": "projected", "modality": "text"}), "pass `project`"),
        ((table, {"scale": "huge"}), "expected 'table', 'items', None or a number above 0"),
        ((table, {"scale": 0}), "scale is 0, expected"),
        ((table, {"scale": True}), "scale is True, expected"),
        ((table, {"scale": float("nan")}), "scale is nan, expected"),
        ((table, {"space": "ID"}), "expected one of raw, projected, id"),
        (
            (table, {"space": "raw", "modality": "text", "items": nn.Embedding(120, WIDTH)}),
            "items go with a free space",
        ),
    ]
    before = table.detach().clone()
    for (parameter, options), message in cases:
        with pytest.raises(InputError, match=message) as caught:
            initialize_(parameter, start, **options)
        assert "\n" not in str(caught.value)
    assert torch.equal(table, before)
