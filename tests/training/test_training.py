"""Training: early stopping, resuming, random numbers that arms share."""

from __future__ import annotations

import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgurinit.arms import HybridInitializer, SGURInitInitializer
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.locks import claim_folder
from sgurinit.models import FREEDOM, LightGCN
from sgurinit.models.checkpoint import load_model
from sgurinit.resolve import build
from sgurinit.seeds import derive_seed
from sgurinit.training import TrainSettings, train
from sgurinit.training.history import find_best_epoch, is_below_floor, is_out_of_patience
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.run import build_model

SETTINGS = TrainSettings(max_epochs=6, batch_size=256)
CONFIG = {"width": 8, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def dataset():
    return planted(200, 100, seed=3)


def drop_times(history):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in history]


def score(trained):
    return trained.model.make_scorer()(torch.arange(20))


def test_the_model_has_the_weights_of_its_best_epoch(dataset):
    trained = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS)
    assert [row["epoch"] for row in trained.history] == list(range(7))
    best = trained.history[trained.best_epoch]
    assert best["recall@20"] == max(row["recall@20"] for row in trained.history)
    again = FullRanking(dataset, "valid").evaluate(trained.model.make_scorer())
    assert again["recall@20"].mean() == pytest.approx(best["recall@20"], rel=1e-12)
    assert not trained.stopped_early


def test_the_same_seed_gives_the_same_drop_times(dataset):
    for model in ("freedom", "mgcn"):
        one, two = (train(dataset, model, config=CONFIG, settings=SETTINGS) for _ in range(2))
        assert drop_times(one.history) == drop_times(two.history)
        assert torch.equal(score(one), score(two))


@pytest.mark.parametrize("model", ["lightgcn", "lattice"])
def test_the_history_begins_with_the_ranking_of_the_initialized_model(dataset, model):
    seen = {}
    trained = train(
        dataset, model, "sgurinit", config=CONFIG, settings=SETTINGS, seed=5,
        on_stage=lambda stage, built: seen.setdefault(
            stage, FullRanking(dataset, "valid").evaluate(built.make_scorer())
        ),
    )  # fmt: skip
    expected = {name: values.mean() for name, values in seen["start"].items()}
    start, *epochs = trained.history
    assert list(start) == list(epochs[0])
    assert {name: start.pop(name) for name in expected} == expected
    assert start.pop("seconds") > 0
    assert start == {"epoch": 0, "train_loss": None, "train_seconds": 0}
    assert all(0 < row["train_seconds"] < row["seconds"] for row in epochs)


@pytest.mark.parametrize("arm", ["hybrid", "collaborative"])
def test_where_training_only_loses_the_model_is_the_start(dataset, tmp_path, arm):
    config = {"width": 8, "learning_rate": 100.0}
    starts = []

    def on_stage(stage, model):
        starts.append({name: values.clone() for name, values in model.state_dict().items()})

    trained = train(
        dataset, "lightgcn", arm, config=config, settings=SETTINGS, folder=tmp_path,
        on_stage=on_stage,
    )  # fmt: skip
    losses = [row["recall@20"] < trained.history[0]["recall@20"] for row in trained.history[1:]]
    assert trained.best_epoch == 0
    assert losses == [True] * 6
    before, after = starts
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    saved = load_model(LightGCN, tmp_path / "best.safetensors", dataset)
    assert torch.equal(saved.make_scorer()(torch.arange(20)), score(trained))


class CachingModel(LightGCN):
    """A model that keeps a tensor from the first time that its vectors are computed."""

    halves = None

    def embed(self):
        if self.halves is None:
            self.halves = torch.full((self.config.width,), 0.5)
        return tuple(self.halves * side for side in super().embed())


def test_what_a_model_caches_when_the_start_is_ranked_can_be_trained_with(dataset):
    trained = train(dataset, CachingModel, "random", config=CONFIG, settings=SETTINGS)
    assert trained.history[-1]["epoch"] == 6


def rows_of(*scores):
    return [{"epoch": n, "recall@20": value} for n, value in enumerate(scores)]


def test_patience_counts_epochs_without_a_gain():
    rows = rows_of(0.0, 0.1, 0.3, 0.2, 0.3)
    assert find_best_epoch(rows, "recall@20")["epoch"] == 2  # a later equal score does not count
    assert is_out_of_patience(rows, "recall@20", 2)
    assert not is_out_of_patience(rows, "recall@20", 3)
    assert not is_out_of_patience([], "recall@20", 1)
    assert not is_out_of_patience(rows_of(0.1), "recall@20", 1)


@given(
    start=st.floats(0, 1),
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=12),
    patience=st.integers(1, 5),
)
def test_patience_does_not_depend_on_the_start(start, scores, patience):
    """It ends training if each of the last epochs is no better than an earlier trained one."""
    before, last = scores[:-patience], scores[-patience:]
    expected = bool(before) and max(last) <= max(before)
    assert is_out_of_patience(rows_of(start, *scores), "recall@20", patience) == expected


def test_a_start_that_falls_before_it_rises_is_trained_on(dataset, monkeypatch):
    """Every epoch is better than the one before, but none as good as the start."""
    settings = TrainSettings(max_epochs=6, patience=1, batch_size=256)
    evaluate, calls = FullRanking.evaluate, []

    def rising(self, score):
        calls.append(score)
        share = 1.0 if len(calls) == 1 else len(calls) / 20
        return {name: share + 0 * v for name, v in evaluate(self, score).items()}

    monkeypatch.setattr(FullRanking, "evaluate", rising)
    trained = train(dataset, "lightgcn", config=CONFIG, settings=settings)
    assert [row["recall@20"] for row in trained.history] == pytest.approx(
        [1.0, *(calls / 20 for calls in range(2, 8))]
    )
    assert trained.best_epoch == 0
    assert not trained.stopped_early


def test_training_stops_when_patience_runs_out(dataset):
    trained = train(
        dataset,
        "lightgcn",
        config={"width": 8, "learning_rate": 1e-9},  # scores cannot improve
        settings=TrainSettings(max_epochs=50, patience=3, batch_size=256),
    )
    assert trained.stopped_early
    best = find_best_epoch(trained.history[1:], "recall@20")["epoch"]
    assert trained.history[-1]["epoch"] == best + 3


class KilledError(Exception):
    pass


def stop_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise KilledError

    return on_epoch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "arm"),
    [
        ("freedom", SGURInitInitializer()),
        ("mgcn", HybridInitializer()),
        ("bm3", SGURInitInitializer()),
        ("vbpr", SGURInitInitializer(projected="through")),
        ("mmgcn", SGURInitInitializer(projected="added", freeze=True)),
    ],
    ids=["freedom", "mgcn", "dropout", "through", "frozen"],
)
@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_killed_run_resumes_to_the_same_drop_times(dataset, tmp_path, model, arm, epoch):
    options = {"config": CONFIG, "settings": SETTINGS, "seed": 1}
    whole = train(dataset, model, arm, **options)
    with pytest.raises(KilledError):
        train(dataset, model, arm, **options, folder=tmp_path, on_epoch=stop_after(epoch))
    rest = []
    resumed = train(dataset, model, arm, **options, folder=tmp_path, on_epoch=rest.append)
    # Finished epochs are not trained again. Nothing is saved before the first is finished.
    assert [row["epoch"] for row in rest] == list(range(epoch + 1 if epoch else 0, 7))
    assert drop_times(resumed.history) == drop_times(whole.history)
    assert resumed.best_epoch == whole.best_epoch
    assert torch.equal(score(resumed), score(whole))


def test_a_history_is_saved_as_one_tensor_without_loss(dataset, tmp_path):
    with pytest.raises(KilledError):
        train(dataset, "lightgcn", settings=SETTINGS, folder=tmp_path, on_epoch=stop_after(3))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["history"]
    assert saved["rows"].shape == (4, len(saved["columns"]))
    rows = []
    trained = train(dataset, "lightgcn", settings=SETTINGS, folder=tmp_path, on_epoch=rows.append)
    assert [*map(repr, trained.history[4:])] == [*map(repr, rows)]
    for epoch, row in enumerate(trained.history):
        assert list(row) == list(rows[0])
        assert (row["epoch"], type(row["epoch"])) == (epoch, int)
        assert (row["train_loss"] is None) == (epoch == 0)


def test_a_folder_only_resumes_its_own_run(dataset, tmp_path):
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
        same = {"dataset": dataset, "model": "lightgcn", "initializer": "random"}
        with pytest.raises(InputError, match=message):
            train(**{**same, **options, **change})


def test_a_broken_checkpoint_is_one_clear_line(dataset, tmp_path):
    options = {"config": CONFIG, "settings": SETTINGS, "folder": str(tmp_path)}
    with pytest.raises(KilledError):
        train(dataset, "lightgcn", **options, on_epoch=stop_after(1))
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"last\.ckpt.*remove it to begin the run again"):
        train(dataset, "lightgcn", **options)
    last.unlink()
    assert len(train(dataset, "lightgcn", **options).history) == 7


@pytest.mark.parametrize("name", ["~", "~x", "a::b", "file:", "local:", "a[b]*?", "x%20$HOME"])
def test_a_folder_of_any_name_keeps_and_resumes_a_run(name, dataset, tmp_path, monkeypatch):
    """Lightning would take such a name for the home folder or for the address of a file system."""
    monkeypatch.chdir(tmp_path)
    options = {"config": CONFIG, "settings": TrainSettings(max_epochs=2), "folder": name}
    with pytest.raises(KilledError):
        train(dataset, "bprmf", **options, on_epoch=stop_after(1))
    assert (tmp_path / name / "last.ckpt").is_file()
    assert len(train(dataset, "bprmf", **options).history) == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in (tmp_path / name).iterdir()} == {
        "best.safetensors", "last.ckpt", "run.json",
    }  # fmt: skip


def test_a_folder_in_use_is_refused(dataset, tmp_path):
    with claim_folder(tmp_path), pytest.raises(InputError, match="another process is using it"):
        train(dataset, "bprmf", folder=tmp_path)


def test_a_checkpoint_that_cannot_be_written_is_named(dataset, tmp_path):
    (tmp_path / "last.ckpt").mkdir()
    with pytest.raises(InputError, match=r"last\.ckpt: cannot be written \(Is a directory\)"):
        train(dataset, "bprmf", settings=TrainSettings(max_epochs=1), folder=tmp_path)


@pytest.mark.parametrize(
    ("config", "settings"),
    [({"width": 10**20}, {}), ({"width": 10**9}, {}), ({}, {"batch_size": 10**20})],
)
def test_numbers_beyond_all_memory_are_refused(config, settings, dataset):
    with pytest.raises(InputError, match="less than"):
        train(dataset, "bprmf", config=config, settings=build(TrainSettings, settings, prefix=""))


def test_a_checkpoint_with_a_changed_bit_is_not_resumed(dataset, tmp_path):
    options = {"config": CONFIG, "settings": SETTINGS, "folder": str(tmp_path)}
    with pytest.raises(KilledError):
        train(dataset, "lightgcn", **options, on_epoch=stop_after(1))
    last = tmp_path / "last.ckpt"
    whole = last.read_bytes()
    with zipfile.ZipFile(last) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    for at in range(largest.file_size // 2, largest.file_size // 2 + 8):
        damaged = bytearray(whole)
        damaged[largest.header_offset + at] ^= 1
        last.write_bytes(damaged)
        with pytest.raises(InputError, match=r"last\.ckpt: expected the checkpoint of a run"):
            train(dataset, "lightgcn", **options)


def test_a_finished_run_is_not_trained_again(dataset, tmp_path, monkeypatch):
    settings = TrainSettings(max_epochs=50, patience=3, batch_size=256)
    options = {"config": CONFIG, "settings": settings, "folder": tmp_path}
    first = train(dataset, "lightgcn", **options)
    assert first.stopped_early
    monkeypatch.setattr(RecommenderModule, "training_step", lambda *_: pytest.fail("trained again"))
    second = train(dataset, "lightgcn", **options)
    assert drop_times(first.history) == drop_times(second.history)
    assert torch.equal(score(first), score(second))


def test_arms_share_weights_batches_negatives_and_samples(dataset, monkeypatch):
    seen = {"random": [], "sgurinit": []}
    step = RecommenderModule.take_step

    def record(self, batch):
        weights = dict(self.model.named_parameters())
        seen[arm].append(
            (
                [column.clone() for column in batch],
                torch.rand(2),  # what the model would draw next
                torch.from_numpy(self.model.epoch_graph.to_scipy().data),
                {n: p.detach().clone() for n, p in weights.items() if n != "user_embedding"},
            )
        )
        return step(self, batch)

    monkeypatch.setattr(RecommenderModule, "take_step", record)
    for arm in seen:
        train(
            dataset, "freedom", make_arm(arm), config=CONFIG,
            settings=TrainSettings(max_epochs=2, batch_size=256), seed=7,
        )  # fmt: skip
    first, second = seen.values()
    assert len(first) == len(second) > 2
    for one, two in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[0], two[0], strict=True))
        assert torch.equal(one[1], two[1])
        assert torch.equal(one[2], two[2])
    for name, weight in first[0][3].items():  # before the first step, only the users differ
        assert torch.equal(weight, second[0][3][name]), name


def make_arm(arm):
    return SGURInitInitializer(n_clusters=4, fill_items=False) if arm == "sgurinit" else arm


def test_the_hand_over_is_reported(dataset):
    trained = train(dataset, "vbpr", "sgurinit", config=CONFIG, settings=SETTINGS)
    report = trained.handover.to_dict()
    assert report["start"]["users_without_interactions"] > 0
    assert [table["space"] for table in report["tables"]] == ["free", "projected", "projected"]
    for table in report["tables"]:
        assert table["norm_after"] == pytest.approx(4 * table["norm_before"], rel=1e-5)


def test_the_stages_get_the_initialized_and_the_best_model_and_have_no_effect(dataset):
    seen = {}

    @torch.no_grad()
    def on_stage(stage, model):
        assert not model.training
        seen[stage] = model.embed()

    options = {"config": CONFIG, "settings": SETTINGS}
    observed = train(dataset, "freedom", "sgurinit", **options, on_stage=on_stage)
    assert drop_times(observed.history) == drop_times(
        train(dataset, "freedom", "sgurinit", **options).history
    )
    initialized = build_model(FREEDOM, dataset, FREEDOM.Config(**CONFIG), seed=0)
    SGURInitInitializer().apply(initialized, dataset, seed=0)
    assert list(seen) == ["start", "trained"]
    for stage, model in (("start", initialized.eval()), ("trained", observed.model)):
        for side, expected in zip(seen[stage], model.embed(), strict=True):
            assert torch.equal(side, expected)


def test_without_a_folder_no_files_remain(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(dataset, "lightgcn", config=CONFIG, settings=TrainSettings(max_epochs=1))
    assert list(tmp_path.iterdir()) == []


def test_diverging_training_is_reported(dataset):
    with pytest.raises(InputError, match="NaN"):
        train(
            dataset, "lightgcn", config={"width": 8, "learning_rate": 1e30},
            settings=TrainSettings(max_epochs=5, batch_size=256),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["recall@21", "recal@20", "loss"])
def test_an_unknown_metric_to_monitor_is_rejected(name):
    with pytest.raises(ValueError, match="monitor"):
        TrainSettings(monitor=name)


def test_streams_differ_from_each_other_and_never_change():
    drawn = {derive_seed(seed, name, n) for seed in range(5) for name in "ab" for n in range(20)}
    assert len(drawn) == 200
    # A change of the derivation would change every result, so two of its values are fixed here.
    assert derive_seed(0, "weights") == 62138630
    assert derive_seed(3, "negatives", 7) == 3233719141


def test_a_floor_is_checked_against_the_best_score_so_far():
    rows = rows_of(0.3, 0.1, 0.2)
    assert is_below_floor(rows, "recall@20", {2: 0.31})
    assert not is_below_floor(rows, "recall@20", {2: 0.3})  # the start counts
    assert not is_below_floor(rows, "recall@20", {3: 0.9})  # not reached yet
    assert is_below_floor(rows_of(0.1, 0.1, 0.5), "recall@20", {1: 0.2, 2: 0.2})
    assert not is_below_floor(rows, "recall@20", {})


def test_training_ends_at_a_floor_that_is_missed_and_resumes_to_the_same_end(dataset, tmp_path):
    free = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS)
    low = min(row["recall@20"] for row in free.history)
    settings = SETTINGS.model_copy(update={"floors": {1: low, 3: 1.0, 5: 1.0}})

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, "lightgcn", config=CONFIG, settings=settings, folder=tmp_path, on_epoch=stop)
    for _ in range(2):
        found = train(dataset, "lightgcn", config=CONFIG, settings=settings, folder=tmp_path)
        assert drop_times(found.history) == drop_times(free.history)[:4]
        assert (found.stopped_at, found.stopped_early) == (3, False)
    assert free.stopped_at is None
    last = SETTINGS.model_copy(update={"floors": {6: 1.0}})
    assert train(dataset, "lightgcn", config=CONFIG, settings=last).stopped_at is None
    with pytest.raises(InputError, match=r"train\.floors"):
        train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS, folder=tmp_path)


@pytest.mark.parametrize("floors", [{0: 0.1}, {1: float("nan")}, {1: "high"}])
def test_bad_floors_are_refused(floors):
    with pytest.raises(ValueError, match="floors"):
        TrainSettings(floors=floors)
