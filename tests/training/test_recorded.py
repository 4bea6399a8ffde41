"""Recorded steps: on the CPU by a recorder that does the work, on a CUDA device by a graph."""

from __future__ import annotations

import logging
import weakref

import pytest
import torch

from sgurinit.data import planted
from sgurinit.models import Batch, LightGCN, model_resolver
from sgurinit.models.blocks import distinct
from sgurinit.training import TrainSettings, loop, train
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.recorded import WARM_UP_STEPS, RecordedStep

RECORDED = sorted(
    name for name in model_resolver.options if model_resolver.lookup(name).fixed_shapes
)
# On a device the step size has 32 bits, so that of the tests has as many.
CONFIG = {"width": 8, "learning_rate": 2**-7, "learning_rate_decay": 1.0}
BATCH_SIZE = 96
SETTINGS = TrainSettings(max_epochs=3, batch_size=BATCH_SIZE)


class SlowRecorder:
    """Keeps the work and does it at each replay, into the same result."""

    def __init__(self):
        self.work = self.result = None
        self.done = []

    def warm_up(self, work):
        self.done.append("warm up")
        return work()

    def record(self, work):
        assert self.work is None, "recorded twice"
        self.work, self.result = work, torch.zeros(())
        self.done.append("record")
        return self.result

    def replay(self):
        self.done.append("replay")
        self.result.copy_(self.work())


class UnableRecorder(SlowRecorder):
    """Cannot record, as where a kernel does not allow it."""

    def record(self, work):
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA error 900")


@pytest.fixture(scope="module")
def dataset():
    return planted(200, 100, seed=3)


@pytest.fixture
def recorders(monkeypatch):
    """The recorders of the runs of a test, which are all recorded."""
    made = []

    def make(device):
        made.append(SlowRecorder())
        return made[-1]

    monkeypatch.setattr(loop, "make_recorder", make)
    return made


def drop_times(history):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in history]


def weights_of(trained):
    return list(trained.model.state_dict().values())


def assert_equal_runs(one, two):
    assert drop_times(one.history) == drop_times(two.history)
    assert all(map(torch.equal, weights_of(one), weights_of(two)))


def describe_run(history, sizes, n_other=0):
    """What a recorder does in a run: three steps, the recording, then all batches of that size."""
    done = []
    for _ in range(history[-1]["epoch"]):
        for size in sizes[n_other:]:
            if size != sizes[0]:
                continue
            if done.count("warm up") < WARM_UP_STEPS:
                done.append("warm up")
                continue
            done += ["replay"] if "record" in done else ["record", "replay"]
    return done


def batch_sizes(dataset, size):
    n = len(dataset.train.users)
    return [size] * (n // size) + ([n % size] if n % size else [])


@pytest.mark.parametrize("model", RECORDED)
def test_a_recorded_run_has_the_numbers_of_a_plain_one(model, dataset, monkeypatch, request):
    plain = train(dataset, model, config=CONFIG, settings=SETTINGS, seed=2)
    recorders = request.getfixturevalue("recorders")
    recorded = train(dataset, model, config=CONFIG, settings=SETTINGS, seed=2)
    assert_equal_runs(plain, recorded)
    sizes = batch_sizes(dataset, BATCH_SIZE)
    assert sizes[-1] != sizes[0]  # the last batch is smaller
    n_other = model_resolver.lookup(model).n_other_steps
    assert recorders[0].done == describe_run(recorded.history, sizes, n_other)


def test_the_step_size_is_read_in_each_epoch(dataset, recorders, monkeypatch):
    config = {**CONFIG, "learning_rate_decay": 0.01}
    recorded = train(dataset, "lightgcn", config=config, settings=SETTINGS)
    monkeypatch.setattr(loop, "make_recorder", lambda _: None)
    plain = train(dataset, "lightgcn", config=config, settings=SETTINGS)
    constant = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS)
    one, other, third = (run.history[-1]["train_loss"] for run in (plain, recorded, constant))
    assert one == pytest.approx(other, rel=1e-6)
    assert one != pytest.approx(third, rel=1e-3)
    assert recorders[0].done


@pytest.mark.parametrize("model", ["freedom", "lattice", "bm3"])
def test_a_recorded_run_resumes_where_it_was_stopped(model, dataset, recorders, tmp_path):
    options = {"config": CONFIG, "settings": SETTINGS}
    whole = train(dataset, model, **options)

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, model, **options, folder=tmp_path, on_epoch=stop)
    assert_equal_runs(train(dataset, model, **options, folder=tmp_path), whole)
    assert recorders[-1].done.count("record") == 1


@pytest.mark.parametrize("first", ["plain", "recorded"])
def test_a_run_resumes_where_steps_are_not_recorded_and_the_other_way(
    first, dataset, tmp_path, monkeypatch
):
    options = {"config": CONFIG, "settings": SETTINGS}
    whole = train(dataset, "lightgcn", **options)

    def stop(row):
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    def choose(kind):
        recorder = SlowRecorder() if kind == "recorded" else None
        monkeypatch.setattr(loop, "make_recorder", lambda _: recorder)

    choose(first)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "lightgcn", **options, folder=tmp_path, on_epoch=stop)
    choose("plain" if first == "recorded" else "recorded")
    assert_equal_runs(train(dataset, "lightgcn", **options, folder=tmp_path), whole)


def test_a_step_that_cannot_be_recorded_is_done_part_by_part(dataset, monkeypatch, caplog):
    plain = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS)
    monkeypatch.setattr(loop, "make_recorder", lambda _: UnableRecorder())
    with caplog.at_level(logging.WARNING, "sgurinit"):
        found = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS)
    assert_equal_runs(plain, found)
    assert [record.getMessage() for record in caplog.records] == [
        "training steps cannot be recorded here (operation not permitted when stream is "
        "capturing) and are launched part by part"
    ]


def test_a_failed_recording_holds_nothing_when_the_step_is_done():
    """Where memory ran out, the step needs what the recording took."""
    tables, held = [], []

    class FullRecorder(SlowRecorder):
        def record(self, work):
            table = torch.zeros(3)
            tables.append(weakref.ref(table))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def step(batch):
        held.extend(table() is not None for table in tables)
        return batch.users.float().sum()

    recorded = RecordedStep(step, FullRecorder())
    batch = Batch(*(torch.arange(4) for _ in range(3)))
    for _ in range(WARM_UP_STEPS + 1):
        assert float(recorded(batch)) == 6
    assert held == [False]


def test_a_model_that_does_not_say_so_is_not_recorded(dataset, recorders):
    class OtherModel(LightGCN):
        pass

    assert LightGCN.fixed_shapes
    assert not OtherModel.fixed_shapes
    train(dataset, OtherModel, config=CONFIG, settings=SETTINGS)
    assert recorders == []


def test_divergence_is_reported_as_without_recording(dataset, recorders):
    with pytest.raises(ValueError, match="NaN"):
        train(dataset, "lightgcn", config={**CONFIG, "learning_rate": 1e30}, settings=SETTINGS)


def test_each_loss_is_a_tensor_of_its_own_and_batches_are_copied():
    seen = []

    def step(batch):
        seen.append([column.clone() for column in batch])
        return batch.users.float().sum()

    recorder = SlowRecorder()
    recorded = RecordedStep(step, recorder)
    batches = [Batch(*(torch.randint(9, (4,)) for _ in range(3))) for _ in range(8)]
    losses = [recorded(batch) for batch in batches]
    small = Batch(*(torch.randint(9, (2,)) for _ in range(3)))
    losses.append(recorded(small))
    assert [float(loss) for loss in losses] == [float(b.users.sum()) for b in [*batches, small]]
    for columns, batch in zip(seen, [*batches, small], strict=True):
        assert all(map(torch.equal, columns, batch))
    assert recorder.done == ["warm up"] * WARM_UP_STEPS + ["record"] + ["replay"] * 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", RECORDED)
def test_a_graph_on_a_cuda_device_has_the_losses_of_a_plain_run(
    model, dataset, monkeypatch, caplog
):
    """Including dropout and noise: a graph reads the seed and the place in the stream."""
    recorded = train(dataset, model, config=CONFIG, settings=SETTINGS)
    assert caplog.records == []
    monkeypatch.setattr(loop, "make_recorder", lambda _: None)
    plain = train(dataset, model, config=CONFIG, settings=SETTINGS)
    for one, other in zip(recorded.history[1:], plain.history[1:], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", sorted(model_resolver.options))
def test_no_step_waits_for_a_cuda_device(model, dataset, monkeypatch):
    step = RecommenderModule.take_step

    def watch(self, batch):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(RecommenderModule, "take_step", watch)
    monkeypatch.setattr(loop, "make_recorder", lambda _: None)
    assert distinct.needs_fixed_shapes(torch.zeros(1, device="cuda"))
    train(dataset, model, config=CONFIG, settings=SETTINGS)
