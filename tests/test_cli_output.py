"""Output of commands: JSON, quiet, colors, completion, Ctrl-C and curves for TensorBoard."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner, Result

from sgurinit.__main__ import main as run_main
from sgurinit.cli import app
from sgurinit.core import SGURInit
from sgurinit.data import planted, write_native

BRIEF = ("--max-epochs", "2", "--patience", "2", "--jobs", "1")
COLOR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7]|38;[0-9;]+)m")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_native(planted(120, 80, n_topics=6), tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def compared(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("compared") / "out"
    words = ("--models", "lightgcn", "--arms", "random,sgurinit", "--seeds", 2, "--out", out)
    return out, run("compare", folder, *words, *BRIEF, "--tensorboard", "--json")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parse_json(result: Result) -> dict[str, Any]:
    """Parse stdout, which must only contain JSON."""
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_data_and_starts_as_json(folder: Path, tmp_path: Path) -> None:
    facts = parse_json(run("inspect", folder, "--json"))
    assert (facts["n_users"], facts["n_items"]) == (120, 80)
    assert set(facts["modalities"]) == {"image", "text"}
    log = tmp_path / "log.parquet"
    pl.read_parquet(folder / "interactions.parquet").filter(split="train").write_parquet(log)
    card = parse_json(run("prepare", log, "--out", tmp_path / "made", "--core", 2, "--json"))
    assert card == {"out": str(tmp_path / "made"), **read(tmp_path / "made/card.json")}
    made = parse_json(run("convert", folder, tmp_path / "csv", "--to", "csv", "--json"))
    assert made["source"].startswith("native")
    assert made["losses"] == []
    start = tmp_path / "s.safetensors"
    fit = parse_json(run("init", folder, "--out", start, "--n-clusters", 4, "--seed", 7, "--json"))
    assert fit["config"]["n_clusters"] == 4
    assert fit["diagnostics"]["n_users"] == 120
    exported = parse_json(
        run("convert", start, tmp_path / "x.useremb", "--to", "recbole", "--json")
    )
    assert Path(exported["out"]).is_file()
    assert "preload_weight" in exported["advice"]
    features = f"--features=text={folder / 'features/text.npy'}"
    ids = ("--item-ids", folder / "items.parquet", "--out", tmp_path / "users")
    users = parse_json(run("stream", log, features, *ids, "--n-clusters", 4, "--json"))
    assert users == {"out": str(tmp_path / "users"), **read(tmp_path / "users/start.json")}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.slow
def test_a_comparison_as_json_with_other_output_on_stderr(
    compared: tuple[Path, Result], tmp_path: Path
) -> None:
    out, result = compared
    answer = parse_json(result)
    assert answer["page"] == str(out / "report.html")
    assert [(e["model"], e["arm"]) for e in answer["results"]] == [
        ("lightgcn", "random"),
        ("lightgcn", "sgurinit"),
    ]
    assert {**read(out / "summary.json"), "folder": str(out), "page": answer["page"]} == answer
    assert re.match(rf"\s*4 runs, \d+ at a time, in {out}\n", result.stderr)
    assert "lightgcn/random/seed-0" in result.stderr
    assert "Recall@20" in result.stderr
    assert parse_json(run("report", out, "--json"))["results"] == answer["results"]
    other = tmp_path / "other"
    other.symlink_to(out)
    refused = run("report", out, other, "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_a_run_and_a_study_as_json(folder: Path, tmp_path: Path) -> None:
    words = ("bprmf", folder, "--max-epochs", 1, "--out", tmp_path / "run")
    answer = parse_json(run("train", *words, "--json"))
    assert answer == {"out": str(tmp_path / "run"), **read(tmp_path / "run/result.json")}
    file = tmp_path / "s.yaml"
    file.write_text(
        f"data: {{path: {folder}}}\nmodels: {{bprmf: }}\narms: {{random: }}\nseeds: 1\n"
        "train: {max_epochs: 1}\n"
    )
    assert parse_json(run("study", file, "--jobs", 1, "--json"))["folder"] == str(tmp_path / "s")


def test_quiet_only_prints_errors(folder: Path, tmp_path: Path) -> None:
    for words in (
        ("inspect", folder),
        ("init", folder, "--out", tmp_path / "s.safetensors"),
        ("train", "bprmf", folder, "--max-epochs", 1),
    ):
        result = run(*words, "--quiet")
        assert (result.exit_code, result.output) == (0, "")
    answer = parse_json(run("inspect", folder, "-q", "--json"))
    assert answer["n_users"] == 120
    assert "120 (" in run("inspect", folder).stdout  # the next command prints again
    refused = run("inspect", tmp_path / "none", "-q")
    assert refused.exit_code == 2
    assert "no such folder" in refused.stderr


def in_terminal(*words: object, **environment: str) -> str:
    """Run a command in a terminal of 80 columns and return what it receives."""
    ours, theirs = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    env |= {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", "sgurinit", *map(str, words)]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    sent = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux reports in this way that the other end is closed
            break
        if not part:
            break
        sent += part
    os.close(ours)
    assert child.wait() == 0, sent
    return sent.decode()


@pytest.mark.slow
def test_a_terminal_shows_progress_that_fits_80_columns() -> None:
    # Long enough for a bar.
    text = in_terminal("train", "lightgcn", "planted", "--max-epochs", 20)
    assert COLOR.search(text)
    assert "all runs" in text
    assert re.search(r"epoch \d+, [\d.]+/s, R@20 0\.\d{4}", text)
    lines = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_no_color_is_respected() -> None:
    assert COLOR.search(in_terminal("inspect", "planted"))
    assert not COLOR.search(in_terminal("inspect", "planted", NO_COLOR="1"))


def completed(shell: str, words: str, **more: str) -> str:
    script = Path(sys.executable).with_name("sgurinit")
    if not script.is_file():
        pytest.skip(f"the script is not installed: {script}")
    env = {**os.environ, "_SGURINIT_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, **more}
    env |= {"COMP_CWORD": str(len(words.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": words}
    done = subprocess.run([script], env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_options_and_data(shell: str, folder: Path) -> None:
    extra = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "compare" in completed(shell, "sgurinit com", **extra)
    assert "--quiet" in completed(shell, "sgurinit init --qu", **extra)
    assert "planted" in completed(shell, "sgurinit inspect pl", **extra)
    assert "lightgcn" in completed(shell, "sgurinit train li", **extra)
    arms = completed(shell, "sgurinit train lightgcn planted --init hybrid-", **extra)
    assert "hybrid-shuffled" in arms.replace("\\", "")
    begun = str(folder)[:-2]
    assert f"{folder}/" in completed(shell, f"sgurinit inspect {begun}", **extra).replace("\\", "")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("sgurinit.core.SGURInit.fit", ("init", "DATA", "--out", "x.safetensors")),
        ("sgurinit.data.convert.convert", ("convert", "DATA", "x", "--to", "csv")),
        ("sgurinit.data.prepare.prepare", ("prepare", "DATA/interactions.parquet", "--out", "x")),
        ("sgurinit.experiments.train_and_test", ("train", "bprmf", "DATA")),
    ],
)
def test_ctrl_c_says_that_nothing_was_written(
    what: str,
    words: tuple[str, ...],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(what, stop)
    monkeypatch.chdir(tmp_path)
    result = run(*(word.replace("DATA", str(folder)) for word in words))
    assert result.exit_code == 130
    assert result.stderr == "\nstopped; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_the_imports_is_one_line(monkeypatch, capsys):
    class Slow:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "sgurinit.cli", Slow())
    with pytest.raises(SystemExit) as stop:
        run_main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "\nstopped; nothing was written\n"


# A command that a first signal has ended, with a code for what the second one meets.
_ENDING = """
import os, signal, sys, threading
from sgurinit.cli import _entry
from sgurinit.runtime import Terminated

def send(kill=os.kill, pid=os.getpid()):
    kill(pid, signal.{number})

class Late:
    def __del__(self, send=send):  # when Python unloads modules
        send()

def stop():
    {meet}
    sys.exit({code})

_entry.app = stop
_entry.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(
    "meet",
    ["send()", "threading.Timer(0.2, send).start()", "global late; late = Late()"],
    ids=["the last lines", "waiting for threads", "unloading"],
)
def test_a_second_signal_leaves_the_exit_code(number: str, code: int, meet: str) -> None:
    words = _ENDING.format(number=number, meet=meet, code=code)
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_stream_resumes(number: int, code: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    log = pl.DataFrame(
        {"user": draw.integers(20_000, size=400_000), "item": draw.integers(3_000, size=400_000)}
    )
    log.write_parquet(tmp_path / "log.parquet")
    np.save(tmp_path / "text.npy", draw.standard_normal((3_000, 64), dtype=np.float32))
    out = tmp_path / "users"
    words = ["stream", "log.parquet", "--features", "text=text.npy", "--out", "users"]
    words += ["--joint-dim", "16", "--jobs", "1", "--seed", "0"]
    child = subprocess.Popen(
        [sys.executable, "-m", "sgurinit", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    kept = tmp_path / ".users.partial"
    wait_for((kept / "users.work" / "counts.npy").exists, child)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == code
    said = "stopped; finished work is kept next to users; run the same command again to resume"
    assert stderr.splitlines() == ["", said]
    assert not out.exists()
    before = (kept / "users.work" / "counts.npy").stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, "-m", "sgurinit", *words, "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert json.loads(done.stdout)["n_users"] == 20_000
    assert not kept.exists()
    assert out.stat().st_mtime_ns > before
    whole = SGURInit(joint_dim=16, random_state=0).stream(
        tmp_path / "log.parquet", {"text": np.load(tmp_path / "text.npy")}, tmp_path / "whole"
    )
    for name in ("text", "joint"):
        ours, theirs = (np.load(place / f"users/{name}.npy") for place in (out, whole))
        np.testing.assert_array_equal(ours, theirs)


def wait_for(reached: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_tensorboard_has_every_epoch_of_every_run(compared: tuple[Path, Result]) -> None:
    out, _ = compared
    for run_folder in ("lightgcn/random/seed-0", "lightgcn/sgurinit/seed-1"):
        events = EventAccumulator(str(out / "tensorboard" / run_folder)).Reload()
        epochs = pl.read_csv(out / "runs" / run_folder / "epochs.csv")
        for tag, column, first in (
            ("valid/recall_20", "recall@20", 0),
            ("train/loss", "train_loss", 1),  # the start is not trained
            ("train/seconds_per_epoch", "seconds", 1),
        ):
            shown = events.Scalars(tag)
            assert [point.step for point in shown] == [0, 1, 2][first:]
            values = epochs[column].to_list()[first:]
            assert [p.value for p in shown] == pytest.approx(values, rel=1e-6)
        result = read(out / "runs" / run_folder / "result.json")
        (test,) = events.Scalars("test/ndcg_10")
        assert test.step == result["best_epoch"]
        assert test.value == pytest.approx(result["test"]["ndcg@10"], rel=1e-6)


def test_tensorboard_needs_a_folder_and_its_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = run("train", "bprmf", folder, "--tensorboard")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: --tensorboard needs --out")
    for name in [n for n in sys.modules if n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    missing = run("train", "bprmf", folder, "--tensorboard", "--out", tmp_path / "run")
    assert missing.exit_code == 2
    assert missing.stderr.endswith("pip install 'sgurinit[tensorboard]'\n")
    assert list(tmp_path.iterdir()) == []
