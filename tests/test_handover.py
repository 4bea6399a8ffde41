"""A start fills a model's tables: the three spaces, the scales, the reports."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sgurinit.core import SGURInit
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.handover import hand_over, initialize_, match_scale
from sgurinit.integrations.torch import attach
from sgurinit.models import BPRMF, MMGCN, VBPR, LightGCN, Recommender, UserTable
from sgurinit.models.checkpoint import load_model, load_weights, save_model
from sgurinit.resolve import resolve_initializer, resolve_model
from sgurinit.testing import make_small_dataset
from sgurinit.training.run import build_model
from sgurinit.training.sampler import TripleSampler

WIDTH = 16


@pytest.fixture(scope="module")
def dataset():
    return planted(300, 120, seed=2)


@pytest.fixture(scope="module")
def start(dataset):
    return SGURInit(n_clusters=5, local_weight=0.4, random_state=0).fit(dataset).start_


def mean_norm(table: torch.Tensor) -> float:
    return float(table.detach().norm(dim=1).mean())


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def assert_same_directions(table: torch.Tensor, rows: np.ndarray) -> None:
    np.testing.assert_allclose(unit(table.detach().numpy()), unit(rows), atol=1e-5)


def test_a_free_table_starts_from_the_joint_space_at_its_own_scale(dataset, start):
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    users, items = (p.detach().clone() for p in (model.user_embedding, model.item_embedding))
    (report,) = hand_over(model, start, scale="table", fill_items=False)
    assert_same_directions(model.user_embedding, start.joint(WIDTH).users)
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
    assert_same_directions(model.item_embedding, start.joint(WIDTH).items)
    assert mean_norm(model.item_embedding) == pytest.approx(before, rel=1e-5)
    assert report.items_filled


def test_a_projected_table_starts_in_the_space_of_the_models_own_projection(dataset, start):
    model = build_model(VBPR, dataset, VBPR.Config(width=WIDTH), seed=0)
    hand_over(model, start)
    for position, modality in enumerate(dataset.features):
        projected = model.user_tables()[1 + position].item_vectors().detach().numpy()
        assert_same_directions(model.user_content[position], start.on(projected))
        # The projection is linear, so the local half may be projected before or after summing.
        local = (
            SGURInit(n_clusters=5, local_weight=1.0, local_norm="sym", random_state=0)
            .fit(dataset)
            .start_
        )
        active = np.unique(dataset.train.users)
        largest = np.abs(dataset.features[modality].values).max()  # VBPR's own scaling
        np.testing.assert_allclose(
            local.on(projected)[active],
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
    assert_same_directions(model.user_embedding, start.joint(WIDTH).users)


@pytest.mark.parametrize(
    ("scale", "target"), [("table", "norm_before"), ("items", "norm_items"), (None, "norm_start")]
)
def test_a_raw_table_takes_the_start_as_it_is_but_for_its_scale(dataset, start, scale, target):
    model = RawUsers(dataset)
    (report,) = hand_over(model, start, scale=scale)
    assert_same_directions(model.users, start.users["text"])
    assert mean_norm(model.users) == pytest.approx(getattr(report, target), rel=1e-5)
    norms = np.linalg.norm(dataset.features["text"].values, axis=1)
    assert report.norm_items == pytest.approx(norms.mean(), rel=1e-5)


def test_embeddings_of_any_module_are_filled_in_place(start):
    users = nn.Embedding(start.n_users, WIDTH)
    items = nn.Embedding(start.n_items, WIDTH)
    address = users.weight.data_ptr()
    report = initialize_(users, start, items=items)
    assert users.weight.data_ptr() == address
    assert_same_directions(users.weight, start.joint(WIDTH).users)
    assert_same_directions(items.weight, start.joint(WIDTH).items)
    assert report.items_filled
    assert users.weight.requires_grad


def test_a_table_of_any_module_in_the_space_of_its_projection(dataset, start):
    projected = torch.tensor(dataset.features["text"].values) @ torch.randn(32, 8)
    table = nn.Parameter(torch.randn(start.n_users, 8))
    initialize_(table, start, space="projected", modality="text", item_vectors=projected)
    assert_same_directions(table, start.on(projected.numpy()))


@pytest.mark.parametrize("space", ["projected", "raw"])
def test_a_collaborative_start_is_carried_into_a_modalitys_space(dataset, space):
    start = SGURInit(n_clusters=4, collaborative=True, random_state=0).fit(dataset).start_
    values = dataset.features["text"].values
    vectors = torch.tensor(values) @ torch.randn(32, 8) if space == "projected" else None
    items = values if vectors is None else vectors.numpy()
    table = nn.Parameter(torch.randn(start.n_users, items.shape[1]))
    report = initialize_(table, start, space=space, modality="text", item_vectors=vectors)
    assert_same_directions(table, start.carry_to(items))
    assert report.norm_items == pytest.approx(np.linalg.norm(items, axis=1).mean(), rel=1e-5)


def narrow_start(dataset, **params):
    features = {"text": dataset.features["text"].values[:, :5]}
    params = {"n_clusters": 4, "random_state": 0} | params
    return SGURInit(**params).fit(dataset.train_matrix(), features).start_


@pytest.mark.parametrize("scale", [4.0, 1.0, 0.5, "table", "items", None])
def test_columns_beyond_the_content_keep_the_models_random_values(dataset, scale):
    start = narrow_start(dataset)
    model = build_model(BPRMF, dataset, BPRMF.Config(width=WIDTH), seed=0)
    before = [t.detach().clone() for t in (model.user_embedding, model.item_embedding)]
    (report,) = hand_over(model, start, scale=scale)
    assert report.columns_filled == 5
    joint = start.joint(WIDTH)
    tables = (model.user_embedding, model.item_embedding)
    for table, own, rows in zip(tables, before, (joint.users, joint.items), strict=True):
        assert_same_directions(table[:, :5], rows[:, :5])
        spare = table[:, 5:].detach()
        ratio = spare / own[:, 5:]
        torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-3, atol=1e-4)
        # Never more than their share, so that the start is not drowned.
        assert 0 < mean_norm(spare) <= 1.02 * (11 / 16) ** 0.5 * mean_norm(table)
    if not isinstance(scale, str) and scale is not None:
        assert report.norm_after == pytest.approx(scale * report.norm_before, rel=1e-5)


def test_every_column_of_a_narrow_start_trains(dataset):
    # Columns that were zero for users and items alike would have no gradient.
    model = build_model(BPRMF, dataset, BPRMF.Config(width=WIDTH), seed=0)
    hand_over(model, narrow_start(dataset))
    before = [t.detach().clone() for t in (model.user_embedding, model.item_embedding)]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.loss(TripleSampler(dataset, 4096, seed=0).epoch(0)[0]).backward()
    optimizer.step()
    for table, old in zip((model.user_embedding, model.item_embedding), before, strict=True):
        assert (table.detach() != old).any(dim=0).all()


@pytest.mark.parametrize("params", [{}, {"collaborative": True}])
def test_a_loaded_start_fills_what_the_fitted_one_fills_or_says_why_not(dataset, params, tmp_path):
    fitted = SGURInit(n_clusters=5, joint_dim=WIDTH, random_state=0, **params).fit(dataset).start_
    fitted.save(tmp_path / "start.safetensors")
    loaded = type(fitted).load(tmp_path / "start.safetensors")
    items = torch.tensor(dataset.features["text"].values)
    projected = items @ torch.randn(32, 8)

    def filled(start, width, **options):
        torch.manual_seed(0)
        table = nn.Parameter(torch.randn(start.n_users, width))
        initialize_(table, start, **options)
        return table

    same = [(WIDTH, {}), (32, {"space": "raw", "modality": "text", "item_vectors": items})]
    if params:
        options = {"space": "projected", "modality": "text", "item_vectors": projected}
        same.append((8, options))
    else:
        same.append((32, {"space": "raw", "modality": "text"}))
    for width, options in same:
        torch.testing.assert_close(
            filled(loaded, width, **options), filled(fitted, width, **options)
        )
    with pytest.raises(InputError, match=r"no joint space of width 8 \(saved: 16\): fit"):
        filled(loaded, 8)
    if params:
        with pytest.raises(
            InputError, match=r"has no features.*fit SGURInit.*or pass item_vectors"
        ):
            filled(loaded, 32, space="raw", modality="text")
    else:
        with pytest.raises(InputError, match=r"has no interactions.*fit SGURInit on the data"):
            filled(loaded, 8, space="projected", modality="text", item_vectors=projected)


@pytest.mark.parametrize(
    ("space", "collaborative", "seen"),
    [
        ("free", False, False),
        ("projected", False, False),
        ("raw", True, False),
        ("raw", False, True),
    ],
)
def test_preprocessing_without_effect_is_refused(dataset, space, collaborative, seen):
    estimator = SGURInit(
        n_clusters=4, preprocess=("center",), collaborative=collaborative, random_state=0
    )
    start = estimator.fit(dataset).start_
    table = nn.Parameter(torch.randn(start.n_users, 32))
    options = {} if space == "free" else {"modality": "text"}
    if space == "projected":
        options["item_vectors"] = torch.tensor(dataset.features["text"].values)
    if seen:
        initialize_(table, start, space=space, **options)
        assert_same_directions(table, start.users["text"])
        return
    with pytest.raises(InputError, match=r"preprocess=\('center',\) has no effect here"):
        initialize_(table, start, space=space, **options)
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    with pytest.raises(InputError, match="has no effect here"):
        hand_over(model, start)
    with pytest.raises(InputError, match="has no effect here"):
        attach(
            nn.ModuleDict({"users": nn.Embedding(start.n_users, 8)}), start, tables={"users": None}
        )


PROJECTING = ("vbpr", "mmgcn", "grcn", "dualgnn", "dragon", "mentor")


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True], ids=["through", "added"])
@pytest.mark.parametrize("name", PROJECTING)
def test_users_pass_through_the_models_own_projection_in_every_step(name, keep):
    dataset = make_small_dataset()
    kind = resolve_model(name)
    model = build_model(kind, dataset, kind.Config(), seed=0)
    plain = {table.name: table.parameter.detach().clone() for table in model.user_tables()}
    start = SGURInit(n_clusters=3, random_state=0).fit(dataset).start_
    reports = hand_over(model, start, projected="added" if keep else "through")
    tables = {table.name: table for table in model.user_tables()}
    held = [report for report in reports if report.space == "projected"]
    assert held

    def expected(table, weights):
        users = start.on(table.features.numpy(), present=start.clusters[table.modality].labels >= 0)
        projected = table.project(torch.from_numpy(users))
        return weights + projected if keep else projected

    for report in held:
        table = tables[report.table]
        torch.testing.assert_close(table.parameter, expected(table, plain[table.name]))
        assert report.projected == ("added" if keep else "through")
    # The projection trains with users and items, and the users follow it.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {report.table: tables[report.table].parameter.detach().clone() for report in held}
    model.begin_epoch(0)
    model.loss(TripleSampler(dataset, 64, seed=0).epoch(0)[0]).backward()
    optimizer.step()
    names = dict(model.named_parameters())
    for report in held:
        table = {t.name: t for t in model.user_tables()}[report.table]
        path, _, leaf = table.name.rpartition(".")
        own = names[f"{path}.parametrizations.{leaf}.original"]
        assert own.requires_grad == keep
        assert not torch.equal(table.parameter, before[table.name])
        torch.testing.assert_close(table.parameter, expected(table, own.detach()))
    # State goes to a model that was handed the same start, and to no other.
    twin = build_model(kind, dataset, kind.Config(), seed=1)
    hand_over(twin, start, projected="added" if keep else "through")
    twin.load_state_dict(model.state_dict())
    users = torch.arange(dataset.n_users)
    torch.testing.assert_close(twin.make_scorer()(users), model.make_scorer()(users))
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied.make_scorer()(users), model.make_scorer()(users))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.testing.assert_close(copied.make_scorer()(users), twin.make_scorer()(users))


@pytest.mark.parametrize("name", ["mmgcn", "dragon"])
def test_carried_users_pass_through_a_projection_at_the_norm_of_the_items(name):
    # Far shorter than the items they would all become the projection's bias.
    data = planted(300, 150, seed=1)
    kind = resolve_model(name)
    model = build_model(kind, data, kind.Config(), seed=0)
    start = SGURInit.from_preset("hybrid", random_state=0).fit(data).start_
    reports = hand_over(model, start, projected="through")
    tables = model.user_tables()
    for table, report in zip(tables, reports, strict=True):
        if table.space != "projected":
            continue
        features = table.features
        assert report.norm_start == pytest.approx(float(features.norm(dim=1).mean()), rel=1e-3)
        bias = table.project(torch.zeros(1, features.shape[1]))
        cosine = torch.nn.functional.cosine_similarity(table.parameter, bias).mean()
        of_items = torch.nn.functional.cosine_similarity(table.project(features), bias).mean()
        assert abs(float(cosine)) < abs(float(of_items)) + 0.2


@pytest.mark.parametrize("again", ["once", "through", "added"])
def test_a_second_hand_over_behind_a_projection_is_refused(dataset, start, again):
    model = build_model(VBPR, dataset, VBPR.Config(width=8), seed=0)
    hand_over(model, start, projected="added")
    with pytest.raises(InputError, match=r"'user_content\.0' was handed over already.*build the"):
        hand_over(model, start, projected=again)


@pytest.mark.parametrize("projected", ["once", "through"])
def test_what_is_refused_changes_nothing(dataset, projected, tmp_path):
    start = SGURInit(n_clusters=5, joint_dim=64, random_state=0).fit(dataset).start_
    start.save(tmp_path / "start.safetensors")
    loaded = type(start).load(tmp_path / "start.safetensors")
    model = build_model(VBPR, dataset, VBPR.Config(), seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with pytest.raises(InputError, match="has no interactions"):
        hand_over(model, loaded, projected=projected)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_weights_trained_through_a_projection_need_the_same_start(dataset, tmp_path):
    start = SGURInit(n_clusters=4, random_state=0).fit(dataset).start_
    model = build_model(VBPR, dataset, VBPR.Config(width=8), seed=0)
    hand_over(model, start, projected="through")
    save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="hand the same start over to the new model"):
        load_model(VBPR, tmp_path / "m.safetensors", dataset)
    twin = build_model(VBPR, dataset, VBPR.Config(width=8), seed=1)
    hand_over(twin, start, projected="through")
    load_weights(twin, tmp_path / "m.safetensors")
    users = torch.arange(5)
    torch.testing.assert_close(twin.make_scorer()(users), model.make_scorer()(users))


def test_through_needs_a_projection(dataset, start):
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    with pytest.raises(InputError, match="no effect: LightGCN has no user table in a projected"):
        hand_over(model, start, projected="through")
    with pytest.raises(InputError, match="expected one of once, through, added"):
        hand_over(model, start, projected="always")


def test_frozen_tables_stay_as_they_start_and_all_else_trains():
    dataset = make_small_dataset()
    model = build_model(MMGCN, dataset, MMGCN.Config(), seed=0)
    report = resolve_initializer("sgurinit", {"n_clusters": 3, "freeze": True}).apply(
        model, dataset, seed=0
    )
    assert report.frozen
    tables = [t for table in model.user_tables() for t in (table.parameter, table.items)]
    frozen = {id(table) for table in tables if table is not None}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    model.loss(TripleSampler(dataset, 64, seed=0).epoch(0)[0]).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in frozen), name


@pytest.mark.parametrize("projected", ["once", "through", "added"])
def test_freezing_reaches_tables_beside_and_behind_a_projection(projected):
    dataset = make_small_dataset()
    model = build_model(VBPR, dataset, VBPR.Config(), seed=0)
    arm = resolve_initializer("sgurinit", {"n_clusters": 3, "freeze": True, "projected": projected})
    arm.apply(model, dataset, seed=0)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"content_biases", "item_bias", "projections"}


def test_freezing_everything_is_refused(dataset):
    model = build_model(LightGCN, dataset, LightGCN.Config(width=WIDTH), seed=0)
    with pytest.raises(InputError, match="freeze leaves LightGCN nothing to train"):
        resolve_initializer("random", {"freeze": True}).apply(model, dataset, seed=0)


def test_what_does_not_fit_is_one_clear_line(start):
    table = nn.Parameter(torch.randn(start.n_users, WIDTH))
    cases = [
        ((nn.Parameter(torch.randn(7, WIDTH)), {}), "has 7 rows, the start has 300 users"),
        ((table, {"space": "raw", "modality": "sound"}), "'sound'.*it has image, text"),
        ((table, {"space": "raw", "modality": "text"}), "must be equal"),
        ((table, {"space": "projected", "modality": "text"}), "pass item_vectors"),
        ((table, {"scale": "huge"}), "expected 'table', 'items', None or a number above 0"),
        ((table, {"scale": 0}), "scale is 0, expected"),
        ((table, {"scale": True}), "scale is True, expected"),
        ((table, {"scale": float("nan")}), "scale is nan, expected"),
        ((table, {"space": "ID"}), "expected one of free, raw, projected"),
        (
            (table, {"space": "raw", "modality": "text", "items": nn.Embedding(120, WIDTH)}),
            "items go with a free space",
        ),
        ((table, {"item_vectors": torch.ones(120, WIDTH)}), "item_vectors go with a raw or"),
        ((nn.Embedding(301, WIDTH), {}), r"^the table has 301 rows.*padding.*initialize_\(users"),
        ((table, {"space": "raw"}), "in a raw space, .*pass modality=, one of image, text"),
        ((nn.ModuleDict(), {}), "parameter is a ModuleDict module, expected one table"),
        ((table.detach().numpy(), {}), "parameter is of type ndarray"),
    ]
    before = table.detach().clone()
    for (parameter, options), message in cases:
        with pytest.raises(InputError, match=message) as caught:
            initialize_(parameter, start, **options)
        assert "\n" not in str(caught.value)
    assert torch.equal(table, before)


def test_only_a_start_is_handed_over_to_a_model_that_fits(dataset, start):
    estimator = SGURInit(n_clusters=5, random_state=0)
    model, table = LightGCN(dataset), nn.Embedding(start.n_users, WIDTH)
    cases = [
        (lambda: hand_over(model, estimator), "start is of type SGURInit.*pass start_"),
        (lambda: initialize_(table, estimator), "start is of type SGURInit.*pass start_"),
        (lambda: attach(model, estimator), "start is of type SGURInit.*pass start_"),
        (lambda: hand_over(table, start), "model is of type Embedding, expected a .*attach or"),
    ]
    for act, message in cases:
        with pytest.raises(InputError, match=message):
            act()


def test_slices_without_the_row_for_padding_are_filled_in_place(start):
    users = nn.Embedding(start.n_users + 1, WIDTH, padding_idx=0)
    items = nn.Embedding(start.n_items + 1, WIDTH, padding_idx=0)
    initialize_(users.weight[1:], start, items=items.weight[1:])
    assert_same_directions(users.weight[1:], start.joint(WIDTH).users)
    assert_same_directions(items.weight[1:], start.joint(WIDTH).items)
    assert not users.weight[0].any()
    assert not items.weight[0].any()
    assert users.weight.requires_grad


def test_item_vectors_can_be_an_array(dataset, start):
    vectors = dataset.features["text"].values[:, :8]
    table = nn.Parameter(torch.randn(start.n_users, 8))
    initialize_(table, start, space="projected", modality="text", item_vectors=vectors)
    assert_same_directions(table, start.on(vectors))


def test_a_model_is_saved_and_loaded_by_a_path_in_a_string(dataset, tmp_path):
    model, path = LightGCN(dataset), str(tmp_path / "model.safetensors")
    save_model(model, path)
    loaded = load_model(LightGCN, path, dataset)
    assert torch.equal(loaded.user_embedding, model.user_embedding)


@pytest.mark.slow
def test_the_tests_for_models_name_pytest_where_it_is_missing():
    code = "import sys; sys.modules['pytest'] = None; import sgurinit.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: sgurinit.testing needs pytest: pip install pytest, or")


class TestMatchScale:
    def test_mean_norm_is_the_target_and_directions_stay(self):
        rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
        scaled = match_scale(rows, 0.25)
        assert scaled.dtype == np.float32
        assert np.linalg.norm(scaled, axis=1).mean() == pytest.approx(0.25, rel=1e-6)
        np.testing.assert_allclose(scaled / scaled[0, 0], rows / rows[0, 0], rtol=1e-5)

    def test_a_zero_table_stays_zero(self):
        assert not match_scale(np.zeros((3, 2)), 1.0).any()
        with pytest.raises(InputError, match="rounds to 0 in float32: choose a larger scale"):
            match_scale(np.ones((3, 2)), 1e-300)

    @pytest.mark.parametrize("target", [-1.0, float("nan"), float("inf")])
    def test_bad_target(self, target):
        with pytest.raises(InputError, match="target_mean_norm"):
            match_scale(np.ones((2, 2)), target)
