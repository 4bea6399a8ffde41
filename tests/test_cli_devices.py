"""The options that say where a command computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import planted, write_native

BRIEF = ("--max-epochs", "1", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_native(planted(60, 50, n_topics=4), tmp_path_factory.mktemp("data") / "small")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("command", ["train", "compare", "study", "demo"])
def test_commands_that_train_take_a_device(command):
    found = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    assert "--device " in found
    assert "--devices " in found
    assert ("--precision " in found) == (command != "study")  # its file says so


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "gpu"], "error: --device is 'gpu', expected auto, cpu, cuda, cuda:N or mps"),
        (["--device", "cuda:99"], "error: --device is 'cuda:99': this machine has "),
        (["--precision", "16"], "error: train.precision is '16': Input should be '32' or "),
    ],
)
def test_what_is_not_there_is_one_line(folder, words, message):
    found = run("train", "bprmf", folder, *BRIEF, *words)
    assert found.exit_code == 2
    assert found.stderr.startswith(message)
    assert found.stderr.count("\n") == 1


def test_several_processes_and_several_runs_exclude_each_other(folder, tmp_path):
    words = ("compare", folder, "--models", "bprmf", "--out", tmp_path / "a", *BRIEF)
    found = run(*words, "--device", "cpu", "--devices", 2, "--jobs", 2)
    assert found.exit_code == 2
    assert found.stderr == (
        "error: --jobs is 2, but each run has --devices=2; use --jobs=1, or --devices=1\n"
    )


def test_a_run_says_where_and_how_it_was_computed(folder, tmp_path):
    out = tmp_path / "run"
    words = ("train", "vbpr", folder, "--out", out, *BRIEF, "--device", "cpu")
    assert run(*words, "--precision", "bf16-mixed").exit_code == 0
    read = {
        name: json.loads(Path(out, f"{name}.json").read_text())
        for name in ("environment", "config")
    }
    assert read["environment"]["devices"] == ["cpu"]
    assert read["environment"]["gpu"] is None
    assert read["config"]["run"]["train"]["precision"] == "bf16-mixed"
    again = run(*words)  # the precision belongs to the run
    assert again.exit_code == 2
    assert 'run.train.precision is "bf16-mixed" there and absent now' in again.stderr
