"""The loop: early stop, resume, paired randomness."""

from __future__ import annotations

import pytest
import torch

from sgurinit.arms import HybridInitializer, SGURInitInitializer
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import FREEDOM
from sgurinit.seeds import derive
from sgurinit.training import TrainSettings, train
from sgurinit.training.callbacks import best_row, is_over
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.run import build_model

SETTINGS = TrainSettings(max_epochs=6, batch_size=256)
CONFIG = {"width": 8, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def dataset():
    return planted(200, 100, seed=3)


def numbers(history):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in history]


def scores(trained):
    return trained.model.scorer()(torch.arange(20))


def test_the_model_comes_back_at_its_best_epoch(dataset):
    trained = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS)
    assert [row["epoch"] for row in trained.history] == list(range(6))
    best = trained.history[trained.best_epoch]
    assert best["recall@20"] == max(row["recall@20"] for row in trained.history)
    again = FullRanking(dataset, "valid").evaluate(trained.model.scorer())
    assert again["recall@20"].mean() == pytest.approx(best["recall@20"], rel=1e-12)
    assert not trained.stopped_early


def test_the_same_seed_gives_the_same_numbers(dataset):
    for model in ("freedom", "mgcn"):
        one, two = (train(dataset, model, config=CONFIG, settings=SETTINGS) for _ in range(2))
        assert numbers(one.history) == numbers(two.history)
        assert torch.equal(scores(one), scores(two))


def test_patience_counts_epochs_without_a_gain():
    rows = [{"epoch": n, "recall@20": value} for n, value in enumerate([0.1, 0.3, 0.2, 0.3])]
    assert best_row(rows, "recall@20")["epoch"] == 1  # an equal score later is no gain
    assert is_over(rows, "recall@20", 2)
    assert not is_over(rows, "recall@20", 3)
    assert not is_over([], "recall@20", 1)


def test_training_stops_when_patience_is_used_up(dataset):
    trained = train(
        dataset,
        "lightgcn",
        config={"width": 8, "learning_rate": 1e-9},  # nothing can get better
        settings=TrainSettings(max_epochs=50, patience=3, batch_size=256),
    )
    assert trained.stopped_early
    assert len(trained.history) == trained.best_epoch + 4


class KilledError(Exception):
    pass


def stop_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise KilledError

    return on_epoch


@pytest.mark.parametrize(
    ("model", "arm"),
    [
        ("freedom", SGURInitInitializer()),
        ("mgcn", HybridInitializer()),
        ("vbpr", SGURInitInitializer(projected="through")),
        ("mmgcn", SGURInitInitializer(projected="added", freeze=True)),
    ],
    ids=["freedom", "mgcn", "through", "frozen"],
)
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_killed_run_resumes_to_the_same_numbers(dataset, tmp_path, model, arm, epoch):
    options = {"config": CONFIG, "settings": SETTINGS, "seed": 1}
    whole = train(dataset, model, arm, **options)
    with pytest.raises(KilledError):
        train(dataset, model, arm, **options, folder=tmp_path, on_epoch=stop_after(epoch))
    rest = []
    resumed = train(dataset, model, arm, **options, folder=tmp_path, on_epoch=rest.append)
    assert rest[0]["epoch"] == epoch + 1  # nothing that was finished is trained again
    assert numbers(resumed.history) == numbers(whole.history)
    assert resumed.best_epoch == whole.best_epoch
    assert torch.equal(scores(resumed), scores(whole))


def test_a_folder_resumes_its_own_run_only(dataset, tmp_path):
    options = {"config": CONFIG, "settings": TrainSettings(max_epochs=1), "folder": tmp_path}
    train(dataset, "lightgcn", "random", **options)
    others = [
        ({"seed": 1}, "seed is 0 there and 1 now"),
        ({"config": {"width": 4}}, "model.width is 8 there and 4 now"),
        ({"initializer": "sgurinit"}, "initializer.name"),
        ({"model": "vbpr"}, "model.class"),
        ({"dataset": planted(200, 100, seed=4)}, "data is"),
    ]
    for change, message in others:
        wanted = {"dataset": dataset, "model": "lightgcn", "initializer": "random"}
        with pytest.raises(InputError, match=message):
            train(**{**wanted, **options, **change})


def test_a_broken_checkpoint_is_one_clear_line(dataset, tmp_path):
    options = {"config": CONFIG, "settings": SETTINGS, "folder": str(tmp_path)}
    with pytest.raises(KilledError):
        train(dataset, "lightgcn", **options, on_epoch=stop_after(1))
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"last\.ckpt.*remove it to begin the run again"):
        train(dataset, "lightgcn", **options)
    last.unlink()
    assert len(train(dataset, "lightgcn", **options).history) == 6


def test_a_finished_run_is_not_trained_again(dataset, tmp_path, monkeypatch):
    settings = TrainSettings(max_epochs=50, patience=3, batch_size=256)
    options = {"config": CONFIG, "settings": settings, "folder": tmp_path}
    first = train(dataset, "lightgcn", **options)
    assert first.stopped_early
    monkeypatch.setattr(RecommenderModule, "training_step", lambda *_: pytest.fail("trained again"))
    second = train(dataset, "lightgcn", **options)
    assert numbers(first.history) == numbers(second.history)
    assert torch.equal(scores(first), scores(second))


def test_arms_see_the_same_weights_batches_negatives_and_samples(dataset, monkeypatch):
    seen = {"random": [], "sgurinit": []}
    step = RecommenderModule.training_step

    def record(self, batch):
        weights = dict(self.model.named_parameters())
        seen[arm].append(
            (
                [column.clone() for column in batch],
                torch.rand(2),  # what the model would draw here
                torch.from_numpy(self.model.epoch_graph.to_scipy().data),
                {n: p.detach().clone() for n, p in weights.items() if n != "user_embedding"},
            )
        )
        return step(self, batch)

    monkeypatch.setattr(RecommenderModule, "training_step", record)
    for arm in seen:
        train(
            dataset, "freedom", resolve(arm), config=CONFIG,
            settings=TrainSettings(max_epochs=2, batch_size=256), seed=7,
        )  # fmt: skip
    first, second = seen.values()
    assert len(first) == len(second) > 2
    for one, two in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[0], two[0], strict=True))
        assert torch.equal(one[1], two[1])
        assert torch.equal(one[2], two[2])
    for name, weight in first[0][3].items():  # before the first step only the users differ
        assert torch.equal(weight, second[0][3][name]), name


def resolve(arm):
    return SGURInitInitializer(n_clusters=4, fill_items=False) if arm == "sgurinit" else arm


def test_the_hand_over_is_reported(dataset):
    trained = train(dataset, "vbpr", "sgurinit", config=CONFIG, settings=SETTINGS)
    report = trained.handover.to_dict()
    assert report["start"]["users_without_interactions"] > 0
    assert [table["space"] for table in report["tables"]] == ["free", "projected", "projected"]
    for table in report["tables"]:
        assert table["norm_after"] == pytest.approx(4 * table["norm_before"], rel=1e-5)


def test_the_stages_show_the_started_and_the_best_model_and_change_nothing(dataset):
    seen = {}

    @torch.no_grad()
    def on_stage(stage, model):
        assert not model.training
        seen[stage] = model.embed()

    options = {"config": CONFIG, "settings": SETTINGS}
    watched = train(dataset, "freedom", "sgurinit", **options, on_stage=on_stage)
    assert numbers(watched.history) == numbers(
        train(dataset, "freedom", "sgurinit", **options).history
    )
    started = build_model(FREEDOM, dataset, FREEDOM.Config(**CONFIG), seed=0)
    SGURInitInitializer().apply(started, dataset, seed=0)
    assert list(seen) == ["start", "trained"]
    for stage, model in (("start", started.eval()), ("trained", watched.model)):
        for side, expected in zip(seen[stage], model.embed(), strict=True):
            assert torch.equal(side, expected)


def test_without_a_folder_nothing_is_left_behind(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(dataset, "lightgcn", config=CONFIG, settings=TrainSettings(max_epochs=1))
    assert list(tmp_path.iterdir()) == []


def test_diverging_training_says_so(dataset):
    with pytest.raises(InputError, match="NaN"):
        train(
            dataset, "lightgcn", config={"width": 8, "learning_rate": 1e30},
            settings=TrainSettings(max_epochs=5, batch_size=256),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["recall@21", "recal@20", "loss"])
def test_an_unknown_metric_to_monitor_is_refused(name):
    with pytest.raises(ValueError, match="monitor"):
        TrainSettings(monitor=name)


def test_streams_differ_from_each_other_and_never_change():
    drawn = {derive(seed, name, n) for seed in range(5) for name in "ab" for n in range(20)}
    assert len(drawn) == 200
    # Another derivation would change every result, so two of its values are pinned.
    assert derive(0, "weights") == 62138630
    assert derive(3, "negatives", 7) == 3233719141
