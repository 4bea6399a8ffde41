"""The tests that every recommender should pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from sgurinit.arms import BASELINE, arm_names
from sgurinit.data import Dataset, planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, Recommender, RecommenderConfig
from sgurinit.models.checkpoint import load_model, load_weights, save_model
from sgurinit.resolve import resolve_initializer
from sgurinit.testing.datasets import make_small_dataset
from sgurinit.training import TrainSettings, train
from sgurinit.training.run import build_model
from sgurinit.training.sampler import TripleSampler

try:
    import pytest
except ModuleNotFoundError:
    raise ImportError(
        "sgurinit.testing needs pytest: pip install pytest, or the extra sgurinit[test]"
    ) from None

MODALITIES = {
    "one": {"text": 5},
    "two": {"image": 6, "text": 4},
    "three": {"image": 6, "text.v2": 4, "keys": 3},
}


class RecommenderTests:
    """Tests for one model. Subclass it in a test file and name the model; pytest runs the rest.

    The tests cover the config, saving and loading, gradients of every parameter, falling loss,
    planted tastes, one to three modalities, absent features, users without interactions, and every
    arm of a comparison.

    Attributes
    ----------
    model_class : type
        Class of the model.
    small_config : mapping
        Fields of its config for the small data set.
    planted_config : mapping
        Fields of its config with which it must find the planted tastes.
    planted_lift : float, default 1.5
        Minimum ratio of its recall to that of popularity on the planted data. Lower it only with a
        reason.

    See Also
    --------
    make_small_dataset : The small data set.
    sgurinit.models.Recommender : The contract that the tests check.

    Examples
    --------
    >>> from sgurinit.models import BPRMF
    >>> class TestBPRMF(RecommenderTests):
    ...     model_class = BPRMF
    """

    model_class: ClassVar[type[Recommender]]
    small_config: ClassVar[Mapping[str, Any]] = {"width": 4}
    planted_config: ClassVar[Mapping[str, Any]] = {"width": 32, "learning_rate": 0.01}
    planted_lift: ClassVar[float] = 1.5

    def build(self, dataset: Dataset, seed: int = 0, **fields: Any) -> Recommender:
        """Build the model for `dataset`, with random weights from `seed`."""
        return build_model(
            self.model_class,
            dataset,
            self.model_class.Config(**{**self.small_config, **fields}),
            seed=seed,
        )

    def test_it_names_its_paper_and_has_a_config(self) -> None:
        assert "https://" in self.model_class.citation
        assert self.model_class.Config is not RecommenderConfig

    def test_config_survives_a_round_trip_and_is_frozen(self) -> None:
        config = self.model_class.Config(width=8, learning_rate=0.01)
        assert self.model_class.Config.model_validate_json(config.model_dump_json()) == config
        with pytest.raises(ValueError, match="frozen"):
            config.width = 3
        with pytest.raises(ValueError, match="Extra inputs"):
            self.model_class.Config.model_validate({"no_such_field": 1})

    def test_the_search_space_has_valid_values_and_the_default(self) -> None:
        assert self.model_class.Config.search_space
        for field, values in self.model_class.Config.search_space.items():
            assert getattr(self.model_class.Config(), field) in values, field
            for value in values:
                assert getattr(self.model_class.Config(**{field: value}), field) == value

    def test_a_config_of_another_model_is_rejected(self) -> None:
        class OtherConfig(RecommenderConfig):
            pass

        with pytest.raises(TypeError, match=self.model_class.Config.__name__):
            self.model_class(make_small_dataset(), OtherConfig())

    def test_saving_and_loading_keeps_the_scores(self, tmp_path: Path) -> None:
        dataset = make_small_dataset()
        model = self.build(dataset)
        save_model(model, tmp_path / "model.safetensors")
        loaded = load_model(self.model_class, tmp_path / "model.safetensors", dataset)
        users = torch.arange(dataset.n_users)
        assert torch.equal(model.make_scorer()(users), loaded.make_scorer()(users))
        assert loaded.config == model.config

    def test_weights_of_another_model_are_rejected(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_model(self.build(make_small_dataset()), path)
        with pytest.raises(InputError, match="tables do not fit"):
            load_weights(self.build(make_small_dataset(), width=8), path)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(InputError, match=r"model\.safetensors"):
            load_weights(self.build(make_small_dataset()), path)

    def test_every_trained_parameter_gets_a_gradient(self) -> None:
        model = self.build(make_small_dataset())
        with torch.no_grad():  # initial biases of zero would hide a zero gradient elsewhere
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.begin_epoch(0)
        model.loss(_draw_batch(make_small_dataset())).backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name

    def test_the_loss_falls(self) -> None:
        history = train(
            make_small_dataset(),
            self.model_class,
            "random",
            config={**self.small_config, "width": 8, "learning_rate": 0.01},
            settings=TrainSettings(max_epochs=40, patience=40),
        ).history
        assert history[-1]["train_loss"] < 0.9 * history[1]["train_loss"]  # row 0 is the start

    def test_planted_tastes_are_found(self) -> None:
        dataset = planted(600, 300, seed=1)
        result = train(
            dataset,
            self.model_class,
            "random",
            config=self.planted_config,
            settings=TrainSettings(max_epochs=60, patience=10, batch_size=512),
        )
        ranking = FullRanking(dataset, "test")
        popularity = torch.tensor(dataset.popularity(), dtype=torch.float32)
        baseline = ranking.evaluate(lambda users: popularity.expand(len(users), -1).clone())
        trained = ranking.evaluate(result.model.make_scorer())
        lift = trained["recall@20"].mean() / baseline["recall@20"].mean()
        assert lift > self.planted_lift

    @pytest.mark.parametrize("modalities", MODALITIES.values(), ids=MODALITIES.keys())
    def test_any_number_of_modalities_works(self, modalities: Mapping[str, int]) -> None:
        dataset = make_small_dataset(modalities)
        model = self.build(dataset)
        model.begin_epoch(0)
        assert torch.isfinite(model.loss(_draw_batch(dataset)))
        assert model.make_scorer()(torch.arange(3)).shape == (3, dataset.n_items)

    def test_scores_are_finite_without_features_or_interactions(self) -> None:
        dataset = make_small_dataset(absent={"image": [0, 1, 19], "text": [0, 5]})
        model = self.build(dataset)
        model.begin_epoch(0)
        loss = model.loss(_draw_batch(dataset))
        loss.backward()
        assert torch.isfinite(loss)
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
        assert torch.isfinite(model.make_scorer()(torch.arange(dataset.n_users))).all()

    def test_scores_of_some_users_equal_those_of_all(self) -> None:
        dataset = make_small_dataset()
        score = self.build(dataset).make_scorer()
        some = torch.tensor([7, 29, 0])
        torch.testing.assert_close(score(some), score(torch.arange(dataset.n_users))[some])

    def test_scores_only_depend_on_the_weights(self) -> None:
        dataset = make_small_dataset()
        model = self.build(dataset)
        users = torch.arange(dataset.n_users)
        fresh = model.make_scorer()(users)
        for mode in (True, False):
            model.train(mode)
            model.begin_epoch(1)
            model.loss(_draw_batch(dataset))
            torch.testing.assert_close(model.make_scorer()(users), fresh)
            assert model.training is mode

    @pytest.mark.parametrize("arm", arm_names())
    def test_every_arm_changes_the_users_and_nothing_else(self, arm: str) -> None:
        dataset = make_small_dataset()
        plain, model = self.build(dataset), self.build(dataset)
        known = type(resolve_initializer(arm)).model_fields
        fields = {"n_clusters": 3} if "n_clusters" in known else {}
        report = resolve_initializer(arm, fields).apply(model, dataset, seed=0)
        tables = model.user_tables()
        assert tables
        assert [table.table for table in report.tables] == [table.name for table in tables]
        for table in tables:
            assert model.get_parameter(table.name) is table.parameter
            assert len(table.parameter) == dataset.n_users
        sides = [table.parameter for table in tables]
        sides += [table.items for table in tables if table.items is not None]
        changed = {id(side) for side in sides if arm != BASELINE}
        for (name, before), after in zip(plain.named_parameters(), model.parameters(), strict=True):
            assert torch.equal(before, after) == (id(after) not in changed), name

    def test_weights_depend_on_the_seed_and_leave_the_global_state_unchanged(self) -> None:
        dataset = make_small_dataset()
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        users = torch.arange(dataset.n_users)
        one, two, other = (
            self.build(dataset, seed=seed).make_scorer()(users) for seed in (0, 0, 1)
        )
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(one, two)
        assert not torch.equal(one, other)


def _draw_batch(dataset: Dataset) -> Batch:
    return TripleSampler(dataset, 64, seed=0).epoch(0)[0]
