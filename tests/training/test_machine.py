"""The device, the precision and several processes: what they change, and what they do not."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile

import pytest
import torch
from pydantic import ValidationError

from sgurinit.arms import RandomInitializer
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, LightGCN, model_resolver
from sgurinit.training import Machine, TrainSettings, train
from sgurinit.training.callbacks import LocalCheckpoints
from sgurinit.training.fitting import explain_missing_operations
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.machine import resolve_machine
from sgurinit.training.ranks import check_divisible, split_batch
from sgurinit.training.run import build_model
from sgurinit.training.sampler import TripleSampler

SETTINGS = TrainSettings(max_epochs=3, batch_size=300)
CONFIG = {"width": 8, "learning_rate": 0.01}
CPU = Machine(device="cpu")


@pytest.fixture(scope="module")
def dataset():
    return planted(200, 100, seed=3)


def have_cuda(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def have_mps(monkeypatch, is_there):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: is_there)


@pytest.mark.parametrize(
    ("machine", "cards", "expected"),
    [
        ({}, 0, ["cpu"]),
        ({}, 2, ["cuda:0"]),
        ({"device": "cpu"}, 2, ["cpu"]),
        ({"device": "cuda"}, 2, ["cuda:0"]),
        ({"device": "cuda:1"}, 2, ["cuda:1"]),
        ({"device": "cpu", "devices": 3}, 0, ["cpu", "cpu", "cpu"]),
        ({"devices": 2}, 3, ["cuda:0", "cuda:1"]),
        ({"device": "mps"}, 0, ["mps"]),
    ],
)
def test_the_devices_of_a_run(machine, cards, expected, monkeypatch):
    have_cuda(monkeypatch, cards)
    have_mps(monkeypatch, True)
    assert [str(device) for device in Machine(**machine).list_devices()] == expected


@pytest.mark.parametrize(
    ("machine", "cards", "message"),
    [
        ({"device": "gpu"}, 1, "device is 'gpu', expected auto, .* this machine has cpu, cuda:0$"),
        ({"device": "cuda:"}, 0, "device is 'cuda:', expected"),
        ({"device": "cuda:-1"}, 1, "device is 'cuda:-1', expected"),
        ({"device": "cuda:1"}, 1, "device is 'cuda:1': this machine has 1 CUDA device, cuda:0$"),
        ({"device": "cuda:7"}, 2, "this machine has 2 CUDA devices, cuda:0, cuda:1$"),
        ({"device": "cuda"}, 0, "no CUDA device that torch can use, only cpu$"),
        ({"device": "mps"}, 0, "device is 'mps': torch finds no such device here, only cpu$"),
        ({"devices": 3}, 2, "devices is 3: this machine has 2 CUDA devices, cuda:0, cuda:1$"),
        (
            {"device": "cpu", "devices": 10**18},
            2,
            "devices is 1000000000000000000, expected 1024 at",
        ),
        ({"device": "cuda:0", "devices": 2}, 2, "device=cuda:0 is a single one; use device=cuda$"),
    ],
)
def test_devices_that_are_not_there_are_one_line_with_those_that_are(
    machine, cards, message, monkeypatch
):
    have_cuda(monkeypatch, cards)
    have_mps(monkeypatch, False)
    with pytest.raises(InputError, match=message) as caught:
        resolve_machine(Machine(**machine))
    assert "\n" not in str(caught.value)


def test_mps_is_one_device(monkeypatch):
    have_mps(monkeypatch, True)
    with pytest.raises(InputError, match="devices is 2, but there is one mps device"):
        Machine(device="mps", devices=2).list_devices()


def test_a_machine_is_a_machine(dataset):
    assert resolve_machine(None) == Machine()
    with pytest.raises(InputError, match="machine is 'cpu', expected a Machine"):
        train(dataset, machine="cpu")
    for wrong in (0, 1.5, True):
        with pytest.raises(ValidationError):
            Machine(devices=wrong)


def test_runs_at_a_time_are_one_per_core_or_card(monkeypatch):
    monkeypatch.setattr("sgurinit.training.machine.count_cores", lambda: 5)
    have_cuda(monkeypatch, 3)
    assert Machine(device="cpu").count_jobs() == 5
    assert Machine().count_jobs() == 3
    assert Machine(device="cuda:2").count_jobs() == 1
    assert Machine(devices=2).count_jobs() == 1


def test_the_usual_precision_is_not_written(tmp_path):
    """Folders that were begun before the field existed resume."""
    assert "precision" not in TrainSettings().model_dump()
    assert "precision" not in json.loads(TrainSettings(precision=32).model_dump_json())
    kept = TrainSettings(precision="bf16-mixed").model_dump(mode="json")
    assert TrainSettings(**kept) == TrainSettings(precision="bf16-mixed")
    assert TrainSettings(**TrainSettings().model_dump()).precision == "32"
    for wrong in ("16", "bf16", 16, None, True):
        with pytest.raises(ValidationError):
            TrainSettings(precision=wrong)


def test_bfloat16_only_concerns_the_products_of_training(dataset):
    half = SETTINGS.model_copy(update={"precision": "bf16-mixed"})
    exact = train(dataset, "vbpr", config=CONFIG, settings=SETTINGS, machine=CPU)
    mixed = train(dataset, "vbpr", config=CONFIG, settings=half, machine=CPU)
    assert mixed.history[0]["recall@20"] == exact.history[0]["recall@20"]  # the same start
    losses = [[row["train_loss"] for row in t.history[1:]] for t in (exact, mixed)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert {weights.dtype for weights in mixed.model.parameters()} == {torch.float32}
    again = FullRanking(dataset, "valid").evaluate(mixed.model.make_scorer())
    best = mixed.history[mixed.best_epoch]["recall@20"]
    assert again["recall@20"].mean() == pytest.approx(best, rel=1e-12)  # it was not rounded


def test_another_precision_is_another_run(dataset, tmp_path):
    half = SETTINGS.model_copy(update={"precision": "bf16-mixed"})
    train(dataset, "bprmf", "random", config=CONFIG, settings=SETTINGS, folder=tmp_path)
    with pytest.raises(InputError, match=r"train.precision is absent there and \"bf16-mixed\" now"):
        train(dataset, "bprmf", "random", config=CONFIG, settings=half, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(model_resolver.lookup_dict))
def test_every_model_trains_in_mixed_precision(dataset, model):
    settings = TrainSettings(max_epochs=2, batch_size=300, precision="bf16-mixed")
    trained = train(dataset, model, config={"width": 8}, settings=settings, machine=CPU)
    assert all(math.isfinite(row["train_loss"]) for row in trained.history[1:])


class StoppedError(Exception):
    """Ends a run from its callback."""


def stop_after_one(row):
    if row["epoch"] == 1:
        raise StoppedError


def test_a_checkpoint_of_a_card_resumes_on_the_cpu(dataset, tmp_path, monkeypatch):
    """Torch notes the device of every tensor; here it notes that of a card."""
    whole = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS, machine=CPU)
    arguments = {"config": CONFIG, "settings": SETTINGS, "folder": tmp_path, "machine": CPU}
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        with pytest.raises(StoppedError):
            train(dataset, "lightgcn", **arguments, on_epoch=stop_after_one)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "last.ckpt", weights_only=True)
    resumed = train(dataset, "lightgcn", **arguments)
    assert torch.equal(resumed.model.user_embedding, whole.model.user_embedding)


def test_checkpoints_hold_tensors_of_the_cpu(tmp_path, monkeypatch):
    moved = []

    class OnCard(torch.Tensor):
        def to(self, device, *args, **kwargs):
            moved.append(str(device))
            return torch.ones(2)

    checkpoint = {"weights": torch.zeros(2).as_subclass(OnCard), "epoch": 3}
    LocalCheckpoints().save_checkpoint(checkpoint, tmp_path / "a.ckpt")
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert moved == ["cpu"]
    assert torch.equal(found["weights"], torch.ones(2))
    assert found["epoch"] == 3


def test_an_operation_that_mps_lacks_is_one_line():
    text = "The operator 'aten::a' is not currently implemented for the MPS device. If you want"
    with (
        pytest.raises(InputError, match=r"device is 'mps': The operator .* MPS device; use dev"),
        explain_missing_operations("mps"),
    ):
        raise NotImplementedError(text)
    with pytest.raises(NotImplementedError), explain_missing_operations("cpu"):
        raise NotImplementedError(text)
    text = (
        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64"
    )
    with (
        pytest.raises(InputError, match=r"device is 'mps': .* doesn't support float64; use dev"),
        explain_missing_operations("mps"),
    ):
        raise TypeError(f"{text}. Please use float32 instead.")
    with pytest.raises(TypeError, match="of a model"), explain_missing_operations("mps"):
        raise TypeError("a fault of a model")


def test_a_cluster_does_not_change_a_run(dataset, monkeypatch):
    """Lightning would take a job of four tasks for four processes of a run."""
    arguments = {"config": CONFIG, "settings": SETTINGS, "machine": CPU}
    plain = train(dataset, "bprmf", **arguments)
    for name, value in {"NTASKS": "4", "JOB_NAME": "train.sh", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    found = train(dataset, "bprmf", **arguments)
    assert torch.equal(found.model.user_embedding, plain.model.user_embedding)


@pytest.mark.parametrize(("size", "n_parts"), [(7, 2), (6, 3), (1, 2), (2, 5)])
def test_parts_of_a_batch_have_its_mean(size, n_parts):
    values = torch.rand(10, dtype=torch.float64)
    rows = torch.arange(size)
    parts = split_batch(Batch(rows, rows, rows), n_parts)
    assert len(parts) == n_parts
    means = [values[part.users].mean() * factor for part, factor in parts]
    assert float(torch.stack(means).mean()) == pytest.approx(float(values[rows].mean()))


DIVISIBLE = {
    "bprmf", "dragon", "dualgnn", "freedom", "grcn", "lattice", "lightgcn", "mmgcn", "vbpr",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(model_resolver.lookup_dict))
def test_models_whose_loss_compares_triples_are_not_divided(dataset, model):
    kind = model_resolver.lookup(model)
    module = RecommenderModule(
        build_model(kind, dataset, kind.Config(width=8), seed=0),
        TripleSampler(dataset, 300, 0),
        FullRanking(dataset, "valid"),
        0,
    )
    if model in DIVISIBLE:
        assert check_divisible(module, 2) == (model != "lattice")
    else:
        with pytest.raises(InputError, match=r"devices is 2, but .* use devices=1"):
            check_divisible(module, 2)


def assert_equal_weights(found, expected):
    weights = found.model.state_dict()
    for name, values in expected.model.state_dict().items():
        assert torch.allclose(weights[name], values, atol=1e-5), name


@pytest.mark.slow
def test_two_processes_train_like_one_and_resume(dataset, tmp_path, monkeypatch):
    place = tmp_path / "a folder #1"  # not what an address may contain
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    two = Machine(device="cpu", devices=2)
    one = train(dataset, "lightgcn", config=CONFIG, settings=SETTINGS, machine=CPU)
    rows = []

    def on_epoch(row):
        rows.append(row)
        stop_after_one(row)

    arguments = {"config": CONFIG, "settings": SETTINGS, "folder": tmp_path}
    with pytest.raises(StoppedError):
        train(dataset, "lightgcn", **arguments, machine=two, on_epoch=on_epoch)
    found = train(dataset, "lightgcn", **arguments, machine=two)
    assert [row["epoch"] for row in rows] == [0, 1]
    assert [row["epoch"] for row in found.history] == [row["epoch"] for row in one.history]
    for ours, theirs in zip(found.history[1:], one.history[1:], strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-6)
    assert_equal_weights(found, one)


@pytest.mark.slow
def test_two_processes_train_a_model_whose_steps_differ(dataset):
    """LATTICE learns its graph only in the first step of an epoch."""
    one = train(dataset, "lattice", config=CONFIG, settings=SETTINGS, machine=CPU)
    two = Machine(device="cpu", devices=2)
    assert_equal_weights(
        train(dataset, "lattice", config=CONFIG, settings=SETTINGS, machine=two), one
    )


SCRIPT = """
import multiprocessing, os, signal, sys, time
from torch import distributed
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.models import BPRMF
from sgurinit.training import Machine, TrainSettings, train

class Diverging(BPRMF):
    def loss(self, batch):
        if multiprocessing.parent_process():
            raise InputError("it diverged")
        return super().loss(batch)

def end(row):
    if row["epoch"] == 1:
        os.kill(min(child.pid for child in multiprocessing.active_children()), signal.SIGTERM)

if multiprocessing.parent_process():
    distributed.destroy_process_group = lambda: time.sleep(600)
elif __name__ == "__main__":
    case, options = sys.argv[1], {"machine": Machine(device="cpu", devices=2)}
    if case == "ended":
        options |= {"settings": TrainSettings(max_epochs=300, patience=300), "on_epoch": end}
    try:
        train(planted(60, 40), BPRMF if case == "ended" else Diverging, "random", **options)
    except InputError as error:
        sys.exit(f"refused: {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "expected"), [("diverging", "it diverged"), ("ended", "a worker process died, ")]
)
def test_no_process_waits_for_one_that_has_failed(case, expected, tmp_path):
    """With NCCL, leaving the others waits for them. One of the processes is ended by SIGTERM."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, case], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr.splitlines()[-1].startswith(f"refused: {expected}")


class Wrong(LightGCN):
    """A model that cannot be trained on parts: it compares the triples of a batch."""

    def loss(self, batch):
        users, _ = self.embed()
        return users[batch.users].var(dim=0).sum()


def test_a_model_that_compares_triples_is_refused_before_a_process_begins(dataset):
    with pytest.raises(InputError, match="Wrong with these settings does not train on parts"):
        train(
            dataset, Wrong, RandomInitializer(), config=CONFIG, settings=SETTINGS,
            machine=Machine(device="cpu", devices=2),
        )  # fmt: skip
