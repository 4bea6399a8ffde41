"""The tests that every recommender passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from sgurinit.arms import BASELINE, arm_names
from sgurinit.data import Dataset, planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, Recommender, RecommenderConfig
from sgurinit.models.checkpoint import load_model, load_weights, save_model
from sgurinit.resolve import resolve_initializer
from sgurinit.testing.datasets import small_dataset
from sgurinit.training import TrainSettings, train
from sgurinit.training.run import build_model
from sgurinit.training.sampler import TripleSampler

MODALITIES = {
    "one": {"text": 5},
    "two": {"image": 6, "text": 4},
    "three": {"image": 6, "text.v2": 4, "keys": 3},
}


class RecommenderTests:
    """Subclass it in a test file, name the model, and pytest runs all of it.

    >>> from sgurinit.models import BPRMF
    >>> class TestBPRMF(RecommenderTests):
    ...     kind = BPRMF

    Attributes
    ----------
    kind
        The model's class.
    small
        Fields of its config for the small data set.
    planted
        Fields of its config with which it must find the planted tastes.
    planted_lift
        How many times the recall of popularity it reaches there at least. Lower it with a reason.
    """

    kind: ClassVar[type[Recommender]]
    small: ClassVar[Mapping[str, Any]] = {"width": 4}
    planted: ClassVar[Mapping[str, Any]] = {"width": 32, "learning_rate": 0.01}
    planted_lift: ClassVar[float] = 1.5

    def build(self, dataset: Dataset, seed: int = 0, **fields: Any) -> Recommender:
        """Model for `dataset`, freshly drawn from `seed`."""
        return build_model(
            self.kind, dataset, self.kind.Config(**{**self.small, **fields}), seed=seed
        )

    def test_names_its_paper_and_its_config(self) -> None:
        assert "https://" in self.kind.citation
        assert self.kind.Config is not RecommenderConfig

    def test_config_survives_a_round_trip_and_is_frozen(self) -> None:
        config = self.kind.Config(width=8, learning_rate=0.01)
        assert self.kind.Config.model_validate_json(config.model_dump_json()) == config
        with pytest.raises(ValueError, match="frozen"):
            config.width = 3
        with pytest.raises(ValueError, match="Extra inputs"):
            self.kind.Config.model_validate({"no_such_field": 1})

    def test_the_search_space_is_of_allowed_values_with_the_default_among_them(self) -> None:
        assert self.kind.Config.search_space
        for field, values in self.kind.Config.search_space.items():
            assert getattr(self.kind.Config(), field) in values, field
            for value in values:
                assert getattr(self.kind.Config(**{field: value}), field) == value

    def test_a_config_of_another_model_is_refused(self) -> None:
        class OtherConfig(RecommenderConfig):
            pass

        with pytest.raises(TypeError, match=self.kind.Config.__name__):
            self.kind(small_dataset(), OtherConfig())

    def test_saving_and_loading_changes_no_score(self, tmp_path: Path) -> None:
        dataset = small_dataset()
        model = self.build(dataset)
        save_model(model, tmp_path / "model.safetensors")
        loaded = load_model(self.kind, tmp_path / "model.safetensors", dataset)
        users = torch.arange(dataset.n_users)
        assert torch.equal(model.scorer()(users), loaded.scorer()(users))
        assert loaded.config == model.config

    def test_weights_of_something_else_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_model(self.build(small_dataset()), path)
        with pytest.raises(InputError, match="tables do not fit"):
            load_weights(self.build(small_dataset(), width=8), path)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(InputError, match=r"model\.safetensors"):
            load_weights(self.build(small_dataset()), path)

    def test_every_trained_parameter_gets_a_gradient(self) -> None:
        model = self.build(small_dataset())
        with torch.no_grad():  # biases that start at zero would hide a zero gradient elsewhere
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.start_epoch(0)
        model.loss(_batch(small_dataset())).backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name

    def test_the_loss_falls(self) -> None:
        history = train(
            small_dataset(),
            self.kind,
            "random",
            config={**self.small, "width": 8, "learning_rate": 0.01},
            settings=TrainSettings(max_epochs=40, patience=40),
        ).history
        assert history[-1]["train_loss"] < 0.9 * history[0]["train_loss"]

    def test_planted_tastes_are_recovered_far_above_popularity(self) -> None:
        dataset = planted(600, 300, seed=1)
        result = train(
            dataset,
            self.kind,
            "random",
            config=self.planted,
            settings=TrainSettings(max_epochs=60, patience=10, batch_size=512),
        )
        ranking = FullRanking(dataset, "test")
        popularity = torch.tensor(dataset.popularity(), dtype=torch.float32)
        baseline = ranking.evaluate(lambda users: popularity.expand(len(users), -1).clone())
        learnt = ranking.evaluate(result.model.scorer())
        lift = learnt["recall@20"].mean() / baseline["recall@20"].mean()
        assert lift > self.planted_lift

    @pytest.mark.parametrize("modalities", MODALITIES.values(), ids=MODALITIES.keys())
    def test_any_number_of_modalities(self, modalities: Mapping[str, int]) -> None:
        dataset = small_dataset(modalities)
        model = self.build(dataset)
        model.start_epoch(0)
        assert torch.isfinite(model.loss(_batch(dataset)))
        assert model.scorer()(torch.arange(3)).shape == (3, dataset.n_items)

    def test_items_without_features_and_users_without_interactions_score_finitely(self) -> None:
        dataset = small_dataset(absent={"image": [0, 1, 19], "text": [0, 5]})
        model = self.build(dataset)
        model.start_epoch(0)
        loss = model.loss(_batch(dataset))
        loss.backward()
        assert torch.isfinite(loss)
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
        assert torch.isfinite(model.scorer()(torch.arange(dataset.n_users))).all()

    def test_scores_of_some_users_equal_those_of_all(self) -> None:
        dataset = small_dataset()
        score = self.build(dataset).scorer()
        some = torch.tensor([7, 29, 0])
        torch.testing.assert_close(score(some), score(torch.arange(dataset.n_users))[some])

    def test_scores_do_not_depend_on_what_was_done_since_the_last_step(self) -> None:
        dataset = small_dataset()
        model = self.build(dataset)
        users = torch.arange(dataset.n_users)
        fresh = model.scorer()(users)
        for mode in (True, False):
            model.train(mode)
            model.start_epoch(1)
            model.loss(_batch(dataset))
            torch.testing.assert_close(model.scorer()(users), fresh)
            assert model.training is mode

    @pytest.mark.parametrize("arm", arm_names())
    def test_every_arm_applies_and_lands(self, arm: str) -> None:
        dataset = small_dataset()
        plain, started = self.build(dataset), self.build(dataset)
        kind = type(resolve_initializer(arm))
        fields = {"n_clusters": 3} if "n_clusters" in kind.model_fields else {}
        report = resolve_initializer(arm, fields).apply(started, dataset, seed=0)
        tables = started.user_tables()
        assert tables
        assert [found.table for found in report.tables] == [table.name for table in tables]
        for table in tables:
            assert started.get_parameter(table.name) is table.parameter
            assert len(table.parameter) == dataset.n_users
        started_sides = [table.parameter for table in tables]
        started_sides += [table.items for table in tables if table.items is not None]
        wanted = {id(side) for side in started_sides if arm != BASELINE}
        for (name, before), after in zip(
            plain.named_parameters(), started.parameters(), strict=True
        ):
            assert torch.equal(before, after) == (id(after) not in wanted), name

    def test_the_seed_decides_the_weights_and_the_global_stream_is_left_alone(self) -> None:
        dataset = small_dataset()
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        users = torch.arange(dataset.n_users)
        one, two, other = (self.build(dataset, seed=seed).scorer()(users) for seed in (0, 0, 1))
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(one, two)
        assert not torch.equal(one, other)


def _batch(dataset: Dataset) -> Batch:
    return TripleSampler(dataset, 64, seed=0).epoch(0)[0]
