"""The arms of a comparison."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgurinit.arms import (
    GlobalInitializer,
    LocalInitializer,
    _GONE_,
    PermutedInitializer,
    SGURInitInitializer,
    arm_names,
)
from sgurinit.core import SGURInit
from sgurinit.data import load_dataset, planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import LightGCN
from sgurinit.resolve import resolve_config, resolve_initializer, resolve_model
from sgurinit.training.run import build_model


@pytest.fixture(scope="module")
def dataset():
    return planted(300, 120, seed=2)


def test_fields_have_the_estimators_defaults_and_the_papers():
    shared = set(SGURInit().get_params()) & set(SGURInitInitializer.model_fields)
    assert len(shared) == 5
    own, paper = SGURInitInitializer(), _GONE_()
    for name in shared:
        assert getattr(own, name) == getattr(SGURInit(), name), name
        assert getattr(paper, name) == getattr(SGURInit.from_preset("stair"), name), name
    assert (paper.scale, paper.items) == ("table", "random")


@pytest.mark.parametrize("scale", [0, "big", True])
def test_a_scale_that_is_none_says_what_it_can_be(scale) -> None:
    message = rf"^sgurinit\.scale is {scale!r}: .*'table' or 'items', or: .*(greater than 0|number)"
    with pytest.raises(InputError, match=message):
        resolve_initializer("sgurinit", {"scale": scale})


def test_preparation_that_no_table_would_see_is_refused() -> None:
    message = r"^sgurinit\.preprocess is \['unit'\]: no table sees .*; set collaborative to 0"
    with pytest.raises(InputError, match=message):
        resolve_initializer("sgurinit", {"preprocess": ["unit"]})
    own = resolve_initializer("sgurinit", {"preprocess": ["unit"], "collaborative": 0.0})
    assert own.preprocess == resolve_initializer("paper", {"preprocess": ["unit"]}).preprocess == ("unit",)


def test_the_arms_are_known_by_name():
    assert arm_names() == ["global", "local", "paper", "permuted", "random", "sgurinit"]


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


def test_permuted_shuffles_the_items_that_were_started(dataset):
    tables = {}
    for kind in (SGURInitInitializer, PermutedInitializer):
        model = build_model(LightGCN, dataset, LightGCN.Config(width=8), seed=0)
        kind(n_clusters=5)(model, dataset, seed=3)
        tables[kind] = model.item_embedding.detach().numpy()
    one, two = tables.values()
    assert not np.allclose(one, two)
    np.testing.assert_array_equal(one[np.lexsort(one.T)], two[np.lexsort(two.T)])
    models = [build_model(LightGCN, dataset, LightGCN.Config(width=8), seed=0) for _ in range(2)]
    PermutedInitializer(n_clusters=5, items="random")(models[0], dataset, seed=3)
    assert torch.equal(models[0].item_embedding, models[1].item_embedding)


def test_collaborative_columns_rank_far_above_popularity_without_training(tiktok_path):
    data = load_dataset(tiktok_path)
    ranking = FullRanking(data, "valid")
    start = SGURInitInitializer(local_weight=1, local_norm="mean", collaborative=0.5).compute_start(data, seed=0)
    reduced = start.joint(64)
    users, items = torch.from_numpy(reduced.users), torch.from_numpy(reduced.items)
    found = ranking.evaluate(lambda chosen: users[chosen] @ items.T)["ndcg@20"].mean()
    popularity = torch.from_numpy(data.popularity()).float()
    plain = ranking.evaluate(lambda chosen: popularity.expand(len(chosen), -1))["ndcg@20"].mean()
    assert found > 1.4 * plain


def test_the_halves_make_up_the_whole(dataset):
    local, global_ = (
        kind(n_clusters=5).compute_start(dataset, 0).users["text"]
        for kind in (LocalInitializer, GlobalInitializer)
    )
    mixed = SGURInitInitializer(n_clusters=5, local_weight=0.3).compute_start(dataset, 0).users["text"]
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
        (lambda: resolve_initializer("sgurinit", {"local_weight": 2}), r"sgurinit\.local_weight is 2: .*less than"),
        (lambda: resolve_initializer("local", {"local_weight": 0.5}), r"local\.local_weight is 0.5"),
        (
            lambda: resolve_initializer("random", {"local_weight": 0.5}),
            r"random\.local_weight does not exist; random has no fields",
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
