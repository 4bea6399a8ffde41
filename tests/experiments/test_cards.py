"""Runs at a time on CUDA devices, which are pretended."""

from __future__ import annotations

import pytest
import torch

from sgurinit.data import planted
from sgurinit.errors import InputError, MemoryInputError
from sgurinit.experiments import compare
from sgurinit.experiments.cards import CONTEXT_BYTES, DeviceShare, measure_model, share_devices
from sgurinit.models import BPRMF
from sgurinit.training import Machine, TrainSettings

GIB = 1 << 30


@pytest.fixture
def cards(monkeypatch):
    """Pretend two cards of 16 GiB, with 8 and 4 GiB free."""
    free = {0: 8 * GIB, 1: 4 * GIB}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.index], 16 * GIB))


def need(count):
    return lambda: {"small": 1, "large": count}


def test_runs_are_dealt_to_the_cards_with_equal_shares_of_what_is_free(cards):
    shares = share_devices(Machine(), 3, need(GIB))
    assert [share.device for share in shares] == ["cuda:0", "cuda:1", "cuda:0"]
    alone = (4 * GIB - CONTEXT_BYTES) / (16 * GIB)  # half of 8, or all of 4
    assert [share.memory for share in shares] == pytest.approx([alone] * 3)


def test_runs_stay_on_the_card_that_is_named(cards):
    assert {s.device for s in share_devices(Machine(device="cuda:1"), 2, need(GIB))} == {"cuda:1"}


def test_more_runs_than_fit_are_refused_with_how_many_do(cards):
    with pytest.raises(MemoryInputError) as caught:
        share_devices(Machine(device="cuda:0"), 9, need(GIB))
    assert str(caught.value) == (
        "jobs is 9: cuda:0 has 8.0 GiB free for 9 runs, and one of large needs at least 1.6 GiB; "
        "per device: 5 at most"
    )
    with pytest.raises(MemoryInputError, match="lower `width`, or free the memory"):
        share_devices(Machine(device="cuda:1"), 2, need(16 * GIB))


def test_other_devices_have_no_limit_and_nothing_is_measured(monkeypatch):
    def measure():
        pytest.fail("no model is built")

    assert share_devices(Machine(device="cpu"), 2, measure) == [DeviceShare("cpu", None)] * 2


def test_a_worker_cannot_take_more_than_its_share(monkeypatch):
    limits = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: limits.append(given)
    )
    DeviceShare("cuda:1", 0.25).enforce()
    DeviceShare("cpu", None).enforce()
    assert limits == [(0.25, torch.device("cuda:1"))]


def test_a_run_needs_its_weights_gradients_and_means_and_the_constants():
    data = planted(40, 60, n_topics=4)
    model = BPRMF(data, BPRMF.Config(width=8))
    model.register_buffer("constant", torch.zeros(5))
    assert measure_model(model) == 4 * 4 * (40 + 60) * 8 + 5 * 4


def test_several_processes_per_run_exclude_several_runs_at_a_time(tmp_path):
    with pytest.raises(InputError, match=r"jobs is 2, but each run has devices=2; use jobs=1"):
        compare(
            planted(40, 60, n_topics=4), ["bprmf"], ["random"], 1, out=tmp_path / "a", jobs=2,
            settings=TrainSettings(max_epochs=1), machine=Machine(device="cpu", devices=2),
        )  # fmt: skip
    assert not (tmp_path / "a").exists()
