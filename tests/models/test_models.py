"""What holds for every model of the zoo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, Recommender, models
from sgurinit.models.saved import load_model, load_weights, save_model
from sgurinit.resolve import resolve_initialiser
from sgurinit.training import TrainSettings, train
from sgurinit.training.run import build_model
from sgurinit.training.sampler import TripleSampler

ALL = [pytest.param(kind, id=name) for name, kind in sorted(models.lookup_dict.items())]
ARMS = ["random", "sgurinit", "permuted", "local", "global"]

pytestmark = pytest.mark.parametrize("kind", ALL)


def build(kind, dataset, seed=0, **fields) -> Recommender:
    return build_model(kind, dataset, kind.Config(**{"width": 4, **fields}), seed=seed)


def batch_of(dataset) -> Batch:
    return TripleSampler(dataset, 64, seed=0).epoch(0)[0]


def test_names_its_paper_and_its_config(kind):
    assert "https://" in kind.citation
    assert kind.Config is not Recommender.Config


def test_config_survives_a_round_trip_and_is_frozen(kind):
    config = kind.Config(width=8, learning_rate=0.01)
    assert kind.Config.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="frozen"):
        config.width = 3
    with pytest.raises(ValueError, match="Extra inputs"):
        kind.Config(no_such_field=1)


def test_a_config_of_another_model_is_refused(kind, make_dataset):
    other = next(k for k in models.lookup_dict.values() if k is not kind)
    with pytest.raises(TypeError, match=kind.Config.__name__):
        kind(make_dataset(), other.Config())


def test_saving_and_loading_changes_no_score(kind, make_dataset, tmp_path):
    dataset = make_dataset()
    model = build(kind, dataset)
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(kind, tmp_path / "model.safetensors", dataset)
    users = torch.arange(dataset.n_users)
    assert torch.equal(model.scorer()(users), loaded.scorer()(users))
    assert loaded.config == model.config


def test_weights_of_something_else_are_refused(kind, make_dataset, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(build(kind, make_dataset()), path)
    with pytest.raises(InputError, match="tables do not fit"):
        load_weights(build(kind, make_dataset(), width=5), path)
    other = next(k for k in models.lookup_dict.values() if k is not kind)
    with pytest.raises(InputError, match=f"expected {other.__name__}"):
        load_weights(build(other, make_dataset()), path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_weights(build(kind, make_dataset()), path)


def test_every_parameter_gets_a_gradient(kind, make_dataset):
    model = build(kind, make_dataset())
    with torch.no_grad():  # biases that start at zero would hide a zero gradient elsewhere
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.start_epoch(0)
    model.loss(batch_of(make_dataset())).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_loss_falls(kind, make_dataset):
    dataset = make_dataset()
    history = train(
        dataset, kind, config={"width": 8, "learning_rate": 0.01},
        settings=TrainSettings(max_epochs=40, patience=40),
    ).history  # fmt: skip
    assert history[-1]["train_loss"] < 0.9 * history[0]["train_loss"]


def test_planted_tastes_are_recovered_far_above_popularity(kind):
    dataset = planted(600, 300, seed=1)
    result = train(
        dataset, kind, config={"width": 32, "learning_rate": 0.01},
        settings=TrainSettings(max_epochs=60, patience=10, batch_size=512),
    )  # fmt: skip
    ranking = FullRanking(dataset, "test")
    popularity = torch.tensor(dataset.popularity(), dtype=torch.float32)
    baseline = ranking.evaluate(lambda users: popularity.expand(len(users), -1).clone())
    learnt = ranking.evaluate(result.model.scorer())
    assert learnt["recall@20"].mean() > 1.5 * baseline["recall@20"].mean()


@pytest.mark.parametrize(
    "modalities",
    [{"text": 5}, {"image": 6, "text": 4}, {"image": 6, "text.v2": 4, "keys": 3}],
    ids=["one", "two", "three"],
)
def test_any_number_of_modalities(kind, make_dataset, modalities):
    dataset = make_dataset(modalities)
    model = build(kind, dataset)
    assert torch.isfinite(model.loss(batch_of(dataset)))
    assert model.scorer()(torch.arange(3)).shape == (3, dataset.n_items)


def test_items_without_features_and_users_without_interactions_get_finite_scores(
    kind, make_dataset
):
    dataset = make_dataset(absent={"image": [0, 1, 19], "text": [0, 5]})
    model = build(kind, dataset)
    model.start_epoch(0)
    loss = model.loss(batch_of(dataset))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert torch.isfinite(model.scorer()(torch.arange(dataset.n_users))).all()


def test_scores_of_some_users_equal_those_of_all(kind, make_dataset):
    dataset = make_dataset()
    score = build(kind, dataset).scorer()
    some = torch.tensor([7, 29, 0])
    torch.testing.assert_close(score(some), score(torch.arange(dataset.n_users))[some])


def test_scoring_leaves_the_training_mode_as_it_was(kind, make_dataset):
    model = build(kind, make_dataset())
    for mode in (True, False):
        model.train(mode)
        model.scorer()
        assert model.training is mode


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_applies_and_lands(kind, arm, make_dataset):
    dataset = make_dataset()
    plain, started = build(kind, dataset), build(kind, dataset)
    fields = {} if arm == "random" else {"n_clusters": 3}
    report = resolve_initialiser(arm, fields)(started, dataset, seed=0)
    tables = {table.name: table for table in plain.user_tables()}
    filled = {id(table.parameter) for table in started.user_tables()}
    assert [table.table for table in report.tables] == list(tables)
    for table in started.user_tables():
        unchanged = torch.equal(table.parameter, tables[table.name].parameter)
        assert unchanged == (arm == "random"), table.name
    for (name, before), after in zip(plain.named_parameters(), started.parameters(), strict=True):
        if id(after) not in filled:
            assert torch.equal(before, after), name


def test_the_same_seed_builds_the_same_model_and_leaves_the_global_stream_alone(kind, make_dataset):
    dataset = make_dataset()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (build(kind, dataset, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    users = np.arange(dataset.n_users)
    assert torch.equal(one.scorer()(torch.tensor(users)), two.scorer()(torch.tensor(users)))
    assert not torch.equal(one.scorer()(torch.tensor(users)), other.scorer()(torch.tensor(users)))
