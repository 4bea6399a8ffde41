"""The arms of a comparison: their settings, and what each does to a model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from sgurinit.arms import (
    CollaborativeInitializer,
    GlobalInitializer,
    HybridInitializer,
    HybridShuffledInitializer,
    Initializer,
    LocalInitializer,
    PermutedInitializer,
    RandomScaledInitializer,
    SGURInitInitializer,
    _RecentStarts,
    arm_names,
    arm_resolver,
)
from sgurinit.core import ItemFeatures, SGURInit
from sgurinit.core.params import PARAMS
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.handover import HandoverReport, report_unchanged
from sgurinit.models import VBPR, LightGCN
from sgurinit.resolve import resolve_config, resolve_initializer, resolve_model
from sgurinit.testing import make_small_dataset
from sgurinit.training.run import build_model


@pytest.fixture(scope="module")
def dataset():
    return planted(300, 120, seed=2)


@pytest.mark.parametrize(("arm", "preset"), [("sgurinit", "published"), ("hybrid", "hybrid")])
def test_the_arms_fields_have_the_values_of_the_preset(arm, preset):
    arm, estimator = resolve_initializer(arm), SGURInit.from_preset(preset)
    for name in set(PARAMS) - {"joint_dim", "kmeans"}:
        assert getattr(arm, name) == getattr(estimator, name), name


def test_every_arm_is_found_by_its_name_and_says_what_it_controls():
    for name in arm_names():
        arm = resolve_initializer(name)
        assert arm.name == name
        assert arm.controls is None or arm.controls in arm_names()
        assert arm.fixed <= set(type(arm).model_fields)
    assert len(set(arm_names())) == len(list(arm_resolver))


def test_a_custom_arm_is_named_after_its_class():
    class MineInitializer(Initializer):
        def fill(self, model, dataset, seed):
            return HandoverReport(self.name, report_unchanged(model.user_tables()))

    assert MineInitializer().name == "mine"


@pytest.mark.parametrize("scale", [0, "big", True])
def test_a_wrong_scale_says_what_it_can_be(scale) -> None:
    message = rf"^sgurinit\.scale is {scale!r}: .*'table' or 'items', or: .*(greater than 0|number)"
    with pytest.raises(InputError, match=message):
        resolve_initializer("sgurinit", {"scale": scale})


def test_settings_without_effect_are_refused() -> None:
    message = r"^sgurinit\.preprocess is \['unit'\]: no table sees .*; set collaborative to false"
    with pytest.raises(InputError, match=message):
        resolve_initializer("sgurinit", {"collaborative": True, "preprocess": ["unit"]})
    own = resolve_initializer("sgurinit", {"preprocess": ["unit"]})
    assert own.preprocess == ("unit",)
    for name, value in {"collaborative_rank": 8, "penalty": 3.0, "content_weight": 0.0}.items():
        message = rf"^sgurinit\.{name} is {value}: this has no effect without collaborative; set"
        with pytest.raises(InputError, match=message):
            resolve_initializer("sgurinit", {name: value})


def test_permuted_is_sgurinit_with_its_rows_shuffled_in_every_space(dataset):
    ours = SGURInitInitializer(n_clusters=5).compute_start(dataset, seed=3)
    shuffled = PermutedInitializer(n_clusters=5).compute_start(dataset, seed=3)
    spaces = [
        (ours.joint(8).users, shuffled.joint(8).users),
        (ours.users["text"], shuffled.users["text"]),
        (ours.users["image"], shuffled.users["image"]),
    ]
    for one, two in spaces:
        assert not np.allclose(one, two)
        np.testing.assert_allclose(
            one[np.lexsort(one.T)], two[np.lexsort(two.T)], rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(ours.joint(8).items, shuffled.joint(8).items)


def test_permuted_shuffles_the_items_that_were_filled(dataset):
    tables = {}
    for kind in (SGURInitInitializer, PermutedInitializer):
        model = build_model(LightGCN, dataset, LightGCN.Config(width=8), seed=0)
        kind(n_clusters=5).apply(model, dataset, seed=3)
        tables[kind] = model.item_embedding.detach().numpy()
    one, two = tables.values()
    assert not np.allclose(one, two)
    np.testing.assert_array_equal(one[np.lexsort(one.T)], two[np.lexsort(two.T)])
    models = [build_model(LightGCN, dataset, LightGCN.Config(width=8), seed=0) for _ in range(2)]
    PermutedInitializer(n_clusters=5, fill_items=False).apply(models[0], dataset, seed=3)
    assert torch.equal(models[0].item_embedding, models[1].item_embedding)


def shuffle_content(dataset, arm, seed):
    """Return a data set with the content shuffled as the arm shuffles it."""
    order = arm._order(dataset.n_items, seed)
    moved = {name: table.values[order] for name, table in dataset.features.items()}
    return dataclasses.replace(dataset, features=moved)


def test_shuffled_content_is_shuffled_before_everything_else(dataset):
    arm = HybridShuffledInitializer(n_clusters=5)
    shuffled = arm.compute_start(dataset, seed=3).joint(16)
    other = shuffle_content(dataset, arm, 3)
    expected = HybridInitializer(n_clusters=5).compute_start(other, seed=3).joint(16)
    np.testing.assert_array_equal(shuffled.items, expected.items)
    np.testing.assert_array_equal(shuffled.users, expected.users)
    true = HybridInitializer(n_clusters=5).compute_start(dataset, seed=3).joint(16)
    assert not np.allclose(shuffled.items, true.items, atol=0.1)


def test_shuffled_content_leaves_the_interactions_intact(dataset):
    fields = {"n_clusters": 5, "content_weight": 0}
    true = HybridInitializer(**fields).compute_start(dataset, seed=3).joint(16)
    shuffled = HybridShuffledInitializer(**fields).compute_start(dataset, seed=3).joint(16)
    np.testing.assert_array_equal(true.items, shuffled.items)
    np.testing.assert_array_equal(true.users, shuffled.users)


@pytest.mark.parametrize("name", ["vbpr", "mmgcn"])
@pytest.mark.parametrize("projected", ["once", "through"])
def test_shuffled_content_is_shuffled_in_raw_and_projected_spaces_too(name, projected):
    # As if the model had been built on shuffled features: same projection, other items.
    dataset = make_small_dataset()
    kind = resolve_model(name)
    arm = HybridShuffledInitializer(n_clusters=3, projected=projected)
    shuffled = shuffle_content(dataset, arm, 0)
    one, two = (build_model(kind, data, kind.Config(), seed=0) for data in (dataset, shuffled))
    arm.apply(one, dataset, seed=0)
    HybridInitializer(n_clusters=3, projected=projected).apply(two, shuffled, seed=0)
    for mine, other in zip(one.user_tables(), two.user_tables(), strict=True):
        torch.testing.assert_close(mine.parameter, other.parameter, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fields", [{}, {"penalty": 30.0}, {"collaborative_rank": 5}])
def test_the_collaborative_arm_is_hybrid_without_content(dataset, fields):
    fields = {"n_clusters": 5, **fields}
    alone = CollaborativeInitializer(**fields).compute_start(dataset, seed=0).joint(16)
    hybrid = HybridInitializer(content_weight=0, **fields).compute_start(dataset, seed=0).joint(16)
    np.testing.assert_array_equal(alone.items, hybrid.items)
    np.testing.assert_array_equal(alone.users, hybrid.users)


def test_the_collaborative_arm_never_sees_the_content(dataset):
    generator = np.random.default_rng(0)
    other = dataclasses.replace(
        dataset,
        features={
            name: generator.normal(size=table.values.shape).astype(np.float32)
            for name, table in dataset.features.items()
        },
    )
    one, two = (
        CollaborativeInitializer(n_clusters=5).compute_start(data, seed=0).joint(16)
        for data in (dataset, other)
    )
    np.testing.assert_array_equal(one.items, two.items)
    np.testing.assert_array_equal(one.users, two.users)


SETTINGS = [{}, {"scale": "items"}, {"scale": None}, {"scale": 0.5, "fill_items": False}]


@pytest.mark.parametrize("fields", SETTINGS)
@pytest.mark.parametrize("name", ["lightgcn", "vbpr", "mmgcn", "mentor"])
def test_random_scaled_has_random_values_at_the_norms_of_sgurinit(name, fields):
    data, kind = make_small_dataset(), resolve_model(name)
    plain, scaled, filled = (build_model(kind, data, kind.Config(), seed=0) for _ in range(3))
    reports = RandomScaledInitializer(n_clusters=3, **fields).apply(scaled, data, seed=0).tables
    SGURInitInitializer(n_clusters=3, **fields).apply(filled, data, seed=0)
    tables = (plain.user_tables(), scaled.user_tables(), filled.user_tables())
    for own, mine, other, report in zip(*tables, reports, strict=True):
        for side in ("parameter", "items"):
            before, after, like = (getattr(table, side) for table in (own, mine, other))
            if before is None:
                continue
            assert norm(after) == pytest.approx(norm(like), rel=1e-4)
            ratio = after.detach() / before.detach()
            torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-3, atol=1e-4)
        assert report.norm_after == pytest.approx(norm(mine.parameter), rel=1e-5)
        assert report.norm_before == pytest.approx(norm(own.parameter), rel=1e-5)


@pytest.mark.parametrize("name", ["lightgcn", "vbpr", "mmgcn"])
def test_random_values_take_a_scale_of_their_own(dataset, name):
    kind = resolve_model(name)
    usual, scaled = (build_model(kind, dataset, kind.Config(width=8), seed=1) for _ in range(2))
    report = resolve_initializer("random", {"scale": 3.0}).apply(scaled, dataset, seed=1)
    filled = {table.name: table.parameter for table in usual.user_tables()}
    items = [table.items for table in usual.user_tables() if table.items is not None]
    changed = {id(rows) for rows in (*filled.values(), *items)}
    for own, (_, other) in zip(usual.parameters(), scaled.named_parameters(), strict=True):
        factor = 3.0 if id(own) in changed else 1.0
        torch.testing.assert_close(other, own * factor)
    for table in report.tables:
        assert table.norm_after == pytest.approx(3 * table.norm_before)


def test_random_scaled_leaves_tables_behind_a_projection():
    data = make_small_dataset()
    models = [build_model(VBPR, data, VBPR.Config(), seed=0) for _ in range(2)]
    RandomScaledInitializer(n_clusters=3, projected="through").apply(models[0], data, seed=0)
    for one, two in zip(models[0].user_content, models[1].user_content, strict=True):
        assert torch.equal(one, two)
    assert norm(models[0].user_embedding) == pytest.approx(4 * norm(models[1].user_embedding))


def norm(table: torch.Tensor) -> float:
    return float(table.detach().norm(dim=1).mean())


def test_settings_of_a_custom_arm_belong_to_the_key_of_a_recent_start(dataset):
    class NoisyInitializer(SGURInitInitializer):
        sigma: float = 0.0

        def _features(self, dataset, seed):
            features = super()._features(dataset, seed)
            return {name: ItemFeatures(t.values + self.sigma) for name, t in features.items()}

    one, two = (NoisyInitializer(sigma=sigma).compute_start(dataset, 0) for sigma in (0.0, 5.0))
    assert one is not two
    assert NoisyInitializer(sigma=5.0, scale=2).compute_start(dataset, 0) is two


def test_a_start_is_computed_once_for_several_models(dataset, monkeypatch):
    fits = []
    fit = SGURInit.fit
    monkeypatch.setattr(SGURInit, "fit", lambda *a, **k: fits.append(1) or fit(*a, **k))
    one = SGURInitInitializer(n_clusters=6)
    start = one.compute_start(dataset, seed=9)
    # Scale and items belong to the hand-over.
    assert SGURInitInitializer(n_clusters=6, scale=2).compute_start(dataset, seed=9) is start
    assert len(fits) == 1
    assert one.compute_start(dataset, seed=8) is not start
    assert one.compute_start(planted(300, 120, seed=3), seed=9) is not start
    assert PermutedInitializer(n_clusters=6).compute_start(dataset, seed=9) is not start
    assert len(fits) == 4


def test_kept_starts_stay_below_a_limit(dataset, monkeypatch):
    kept = _RecentStarts(2 * 300 * (64 + 32) * 4)
    starts = [SGURInit(n_clusters=3, random_state=n).fit(dataset).start_ for n in range(3)]
    for number, start in enumerate(starts):
        kept.put(number, start)
    assert [kept.get(number) is not None for number in range(3)] == [False, True, True]
    small = _RecentStarts(10)
    small.put(0, starts[0])
    assert small.get(0) is None


def test_the_halves_make_up_the_whole(dataset):
    local, global_ = (
        kind(n_clusters=5).compute_start(dataset, 0).users["text"]
        for kind in (LocalInitializer, GlobalInitializer)
    )
    mixed = (
        SGURInitInitializer(n_clusters=5, local_weight=0.3).compute_start(dataset, 0).users["text"]
    )
    np.testing.assert_allclose(mixed, 0.3 * local + 0.7 * global_, rtol=1e-4, atol=1e-4)


def test_the_seed_decides_the_start(dataset):
    arm = SGURInitInitializer(n_clusters=7)
    one, two = (arm.compute_start(dataset, seed=1).users["image"] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, arm.compute_start(dataset, seed=2).users["image"])


def test_names_classes_and_objects_resolve_alike():
    by_name = resolve_initializer("SGURInit", {"local_weight": 0.5})
    by_class = resolve_initializer(SGURInitInitializer, {"local_weight": 0.5})
    assert by_name == by_class == resolve_initializer(by_name)
    assert resolve_model("LightGCN") is resolve_model("lightgcn") is resolve_model("light-gcn")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resolve_model("nosuch"), "model 'nosuch' does not exist; known: .*lightgcn"),
        (lambda: resolve_initializer("nosuch"), "arm 'nosuch' does not exist; known: .*sgurinit"),
        (
            lambda: resolve_initializer("sgurinit", {"local_weight": 2}),
            r"sgurinit\.local_weight is 2: .*less than",
        ),
        (
            lambda: resolve_initializer("local", {"local_weight": 0.5}),
            r"local\.local_weight is 0.5",
        ),
        (
            lambda: resolve_initializer("random", {"local_weight": 0.5}),
            r"random\.local_weight does not exist; random has freeze, scale",
        ),
        (
            lambda: resolve_initializer(SGURInitInitializer(), {"local_weight": 0.5}),
            "not both",
        ),
        (
            lambda: resolve_config(resolve_model("freedom"), {"kk": 3}),
            r"freedom\.kk does not exist; freedom has .*edge_dropout",
        ),
        (
            lambda: resolve_config(resolve_model("freedom"), {"edge_dropout": 1}),
            r"freedom\.edge_dropout is 1: .*less than 1",
        ),
    ],
)
def test_a_bad_name_or_field_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
