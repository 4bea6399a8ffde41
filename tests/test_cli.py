"""Every command on small data, with real training, and with bad input of every kind."""

from __future__ import annotations

import ast
import inspect
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse
from typer.testing import CliRunner, Result

import sgurinit
from sgurinit.arms import arm_names
from sgurinit.cli import app
from sgurinit.cli._set_option import parse_assignments
from sgurinit.cli.options import ARMS, MODELS
from sgurinit.core import SGURInit, UserStart, params
from sgurinit.core.params import PARAMS, PRESETS
from sgurinit.data import Dataset, load_dataset, planted, summarize, write_native
from sgurinit.data.convert import convert
from sgurinit.data.encode import encode_attributes, join_text_columns, join_vectors
from sgurinit.data.prepare import SPLIT_METHODS, find_source, prepare
from sgurinit.errors import InputError
from sgurinit.experiments import Comparison, compare, load_comparison, shared_fields
from sgurinit.models import model_resolver
from sgurinit.runtime import count_cores
from sgurinit.training import TrainSettings

BRIEF = ("--max-epochs", "3", "--patience", "2")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def small() -> Dataset:
    return planted(120, 80, n_topics=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small: Dataset) -> Path:
    return write_native(small, tmp_path_factory.mktemp("data") / "small")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_line(result: Result, *expected: str) -> None:
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for part in expected:
        assert part in lines[0]
    assert "Traceback" not in result.output


def test_help_has_examples_for_every_command() -> None:
    commands = ("inspect", "init", "stream", "train", "compare", "study", "report", "demo")
    for command in (*commands, "prepare", "encode", "convert"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert f"$ sgurinit {command}" in result.stdout
    assert run("--version").stdout.startswith("sgurinit 0.")


def help_text(command: str) -> str:
    """Get the help of a command on one line."""
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400"})
    assert result.exit_code == 0
    return " ".join(result.stdout.replace("│", " ").split())


def test_help_lists_every_arm_and_model() -> None:
    assert sorted(ARMS) == list(arm_names())
    assert sorted(MODELS) == sorted(model_resolver.options)
    for command in ("train", "compare"):
        text = help_text(command)
        assert f"{', '.join(ARMS)}." in text
        assert f"{', '.join(MODELS)}." in text


def test_help_lists_every_split() -> None:
    text = help_text("prepare")
    assert f"--split {'|'.join(SPLIT_METHODS)} How" in text.replace("| ", "|")
    assert "such as 7:1:2" in text


def test_help_shows_the_actual_defaults() -> None:
    settings = TrainSettings()
    for command in ("train", "compare"):
        text = help_text(command)
        assert f"Largest number of epochs. Default: {settings.max_epochs}." in text
        assert f"without a better validation score. Default: {settings.patience}." in text
    arms = inspect.signature(compare).parameters["arms"].default
    assert f"[default: {','.join(arms)}]" in help_text("compare")
    for command in ("init", "stream"):
        text = help_text(command)
        for name in PARAMS:
            if name != "kmeans" or command == "stream":
                assert params.describe_parameter(name) in text
        for fields in PRESETS.values():
            for field, value in fields.items():
                if value != PARAMS[field].default:
                    assert f"--{field.replace('_', '-')} {value}" in text


def test_inspect_shows_the_facts(folder: Path, small: Dataset) -> None:
    result = run("inspect", folder)
    assert result.exit_code == 0, result.output
    for expected in ("120 (", "80 (", f"{len(small.train):,} interactions", "image", "text"):
        assert expected in result.stdout
    assert "do not expect it to help" in " ".join(result.stdout.split())
    facts = json.loads(run("inspect", folder, "--json", "-q").stdout)
    for name, found in summarize(small).modalities.items():
        assert facts["modalities"][name]["agreement"] == asdict(found.agreement)


def test_stream_gives_what_init_gives(folder: Path, small: Dataset, tmp_path: Path) -> None:
    log = pl.read_parquet(folder / "interactions.parquet").filter(split="train")
    for number, part in enumerate((log[:100], log[100:])):
        part.select("user", "item").write_parquet(tmp_path / f"{number}.parquet")
    features = [f"--features={m}={folder / 'features' / m}.npy" for m in small.features]
    ids = ("--item-ids", folder / "items.parquet")
    same = ("--n-clusters", 4, "--joint-dim", 8, "--seed", 3)
    out = tmp_path / "users"
    logs = (tmp_path / "0.parquet", tmp_path / "1.parquet")
    result = run("stream", *logs, *features, *ids, "--out", out, *same, "--layout", "parquet")
    assert result.exit_code == 0, result.output
    assert f"saved to {out}" in result.output
    found = pl.read_parquet(out / "users" / "*.parquet").sort("user")
    assert run("init", folder, "--out", tmp_path / "u.parquet", *same).exit_code == 0
    whole = pl.read_parquet(tmp_path / "u.parquet").join(found.select("user"), on="user")
    for name in (*small.features, "joint"):
        np.testing.assert_allclose(
            found[name].to_numpy(), whole.sort("user")[name].to_numpy(), rtol=1e-5, atol=1e-6
        )
    assert_one_line(run("stream", *logs, *features, *ids, "--out", out), "exists already")
    assert_one_line(run("stream", *logs, "--features", "x", "--out", "o"), "NAME=FILE.npy")
    assert_one_line(
        run("stream", *logs, "--features", "x=none.npy", "--out", "o"), "none.npy: file is missing"
    )


@pytest.mark.parametrize("more", [[], ["--spark", "local[1]", "--features", "text=x.parquet"]])
def test_init_refuses_collaborative_without_a_joint_space(
    more: list[str], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.safetensors"
    result = run("init", folder, "--preset", "hybrid", "--out", out, *more)
    assert_one_line(result, "--collaborative has no effect without --joint-dim")
    assert not out.exists()


def test_init_replaces_a_file_only_on_request(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "start.safetensors"
    assert run("init", folder, "--out", out).exit_code == 0
    before = out.read_bytes()
    assert_one_line(run("init", folder, "--out", out, "--seed", 1), "exists already", "--overwrite")
    assert out.read_bytes() == before
    assert run("init", folder, "--out", out, "--seed", 1, "--overwrite").exit_code == 0
    assert out.read_bytes() != before
    spark = ("--spark", "local[1]", "--features", "text=x.parquet", "--overwrite")
    assert_one_line(run("init", folder, "--out", out, *spark), "--overwrite", "--spark")


def test_init_and_stream_name_a_device_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "start.safetensors"
    assert_one_line(
        run("init", folder, "--out", out, "--device", "cuda:99"), "--device is 'cuda:99'"
    )
    assert_one_line(run("init", folder, "--out", out, "--device", "tpu"), "--device must be 'cpu'")
    spark = ("--spark", "local[1]", "--features", "text=x.parquet", "--device", "cuda")
    assert_one_line(run("init", folder, "--out", out, *spark), "--device", "--spark")
    np.save(tmp_path / "edges.npy", np.array([[0, 0], [1, 1]]))
    np.save(tmp_path / "text.npy", np.eye(2))
    features = ("--features", f"text={tmp_path / 'text.npy'}", "--n-clusters", 2)
    streamed = ("stream", tmp_path / "edges.npy", *features, "--out", tmp_path / "users")
    assert_one_line(run(*streamed, "--device", "cuda:99"), "--device is 'cuda:99'")
    assert run("init", folder, "--out", out, "--device", "auto").exit_code == 0


@pytest.mark.parametrize("name", ["start.safetensors", "start.parquet"])
def test_init_saves_a_start_for_every_user(folder: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    options = ("--n-clusters", 4, "--local-weight", 0.7, "--local-norm", "sym", "--joint-dim", 8)
    options = (*options, "--preprocess", "center,unit", "--seed", 3)
    result = run("init", folder, "--out", out, *options)
    assert result.exit_code == 0, result.output
    data = load_dataset(folder)
    assert (
        f"training interactions {len(data.train):,} ({len(data.valid) + len(data.test):,} held out "
        "for validation and test)"
    ) in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith(".parquet"):
        assert pl.read_parquet(out).height == 120
        return
    start = UserStart.load(out)
    assert start.config["n_clusters"] == 4
    assert (start.config["local_weight"], start.config["local_norm"]) == (0.7, "sym")
    assert tuple(start.config["preprocess"]) == ("center", "unit")
    assert start.joint(8).users.shape == (120, 8)


def test_train_saves_a_run_that_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("train", "lightgcn", folder, "--init", "sgurinit", *BRIEF, "--seed", 1)
    words = (*words, "--set", "lightgcn.n_layers=1", "--set", "sgurinit.n_clusters=4")
    first = run(*words, "--out", out)
    assert first.exit_code == 0, first.output
    assert "hit_rate" in first.stdout
    assert (out / "result.json").is_file()
    again = run(*words, "--out", out)
    assert "finished before" in again.stdout
    assert_one_line(run(*words, "--out", out, "--seed", 2), "run.seed is 1 there and 2 now")


@pytest.mark.slow
def test_compare_writes_tables_and_page_and_prints_where(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arms = "random,sgurinit,local,hybrid-shuffled,random-scaled"
    words = ("--models", "lightgcn,vbpr", "--arms", arms, "--seeds", 1)
    words = (*words, "--out", out, *BRIEF, "--jobs", 1, "--mask-valid", "--n-clusters", 4)
    words = (*words, "--local-weight", 0.4, "--set", "train.batch_size=64")
    words = (*words, "--set", "sgurinit.local_weight=0.3", "--set", "hybrid-shuffled.scale=2")
    result = run("compare", folder, *words)
    assert result.exit_code == 0, result.output
    for name in ("report.html", "summary.json", *(path.name for path in out.glob("*.csv"))):
        assert (out / name).is_file()
        assert name in result.stdout
    settings = load_comparison(out).summary["settings"]
    assert settings["mask_valid"] is True
    assert settings["train"]["batch_size"] == 64
    assert settings["arms"]["sgurinit"]["local_weight"] == 0.3
    assert settings["arms"]["local"]["local_weight"] == 1.0
    assert settings["arms"]["local"]["n_clusters"] == 4
    assert settings["arms"]["hybrid-shuffled"]["local_weight"] == 0.4
    assert settings["arms"]["hybrid-shuffled"]["scale"] == 2
    assert settings["arms"]["random-scaled"]["scale"] == 4


@pytest.mark.slow
def test_report_writes_the_page_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--models", "lightgcn", "--seeds", 1, "--out", out, *BRIEF, "--jobs", 1)
    made = run("compare", folder, *words)
    assert made.exit_code == 0, made.output
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    again = run("report", out)
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines() == made.stdout.splitlines()[-len(again.stdout.splitlines()) :]
    assert (out / "report.html").read_bytes() == page
    other, both = tmp_path / "other", tmp_path / "both"
    shutil.copytree(out, other)
    done = run("report", out, other, "--out", both)
    assert done.exit_code == 0, done.output
    assert {path.name for path in both.iterdir()} == {"report.html", "side_by_side.csv"}
    assert_one_line(run("report", out, out, "--out", both), "expected two comparisons")
    (out / "curves.csv").unlink()
    assert_one_line(
        run("report", out), "curves.csv: expected a table", "run the command that wrote"
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_options_of_init_override_a_preset(preset: str, folder: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "start.safetensors")
    options = ("--n-clusters", 3, "--joint-dim", 8, "--seed", 0)
    result = run("init", folder, "--preset", preset, *options, *out)
    assert result.exit_code == 0, result.output
    estimator = SGURInit.from_preset(preset, n_clusters=3, joint_dim=8, random_state=0)
    expected = estimator.fit(load_dataset(folder))
    found = UserStart.load(out[1])
    assert found.config == expected.start_.config
    for name, users in expected.start_.users.items():
        np.testing.assert_array_equal(found.users[name], users)


@pytest.mark.slow
def test_study_runs_its_file_and_prints_the_folder(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        f"data: {{path: {folder}}}\nmodels: {{bprmf: }}\narms: {{random: , sgurinit: }}\nseeds: 1\n"
        "train: {max_epochs: 3, patience: 2}\nsearch: {trials: 2}\n"
    )
    result = run("study", file, "--jobs", 1)
    assert result.exit_code == 0, result.output
    for name in ("report.html", "results.csv", "curves.csv", "summary.json", "trials.csv"):
        assert (tmp_path / "s" / name).is_file()
    assert "bprmf/sgurinit/trial-1" in result.stdout
    assert "valid recall@20" in result.stdout
    page = (tmp_path / "s" / "report.html").read_text()
    assert f"sgurinit study {file} --out {tmp_path / 's'}" in page
    summary = json.loads((tmp_path / "s" / "summary.json").read_text())
    for own in summary["chosen"][
        "bprmf"
    ].values():  # the page shows the chosen settings, not the given ones
        assert f'<td class="left">reg = {json.dumps(own["config"]["reg"])}' in page
    assert "finished before" in run("study", file, "--jobs", 1).stdout
    file.write_text("data: {path: planted}\n")
    assert_one_line(run("study", file), "s.yaml: study.models is ")


def test_study_estimates_its_time_for_other_data(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "models: {bprmf: , lightgcn: }\narms: {random: , sgurinit: }\nseeds: 2\n"
        "search: {trials: 3, finalists: 2}\n"
    )
    assert_one_line(run("study", file), "s.yaml: study.data.path is missing", "give it as --data")
    words = ("study", file, "--data", folder, "--plan", "--jobs", 2, "--only")
    result = run(*words, "bprmf")
    assert result.exit_code == 0, result.output
    assert re.search(r"bprmf +6 +0 +4 +4 +\S+ +100 +100", result.stdout)
    assert "hours of runs" in result.stdout
    assert "measured in two epochs" in result.stdout
    assert "lightgcn" not in result.stdout
    found = json.loads(run(*words, "bprmf", "--json").stdout)
    assert found["models"][0]["counts"] == {"trials": 6, "exchange": 0, "again": 4, "runs": 4}
    assert found["hours_with_jobs"] == pytest.approx(found["hours"] / 2)
    assert not (tmp_path / "s").exists()
    assert_one_line(run(*words, "vbpr"), "--only: 'vbpr' is not a model of the study")


@pytest.mark.slow
def test_study_runs_some_models_and_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "models: {bprmf: , lightgcn: }\narms: {random: }\nseeds: 1\ntrain: {max_epochs: 2}\n"
        "search: {trials: 2, spaces: {bprmf: {reg: [0.1, 0.01]}}}\n"
    )
    result = run("study", file, "--data", folder, "--only", "bprmf", "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "not finished: lightgcn" in result.stdout
    assert "chosen at the edge of a list" in result.stdout
    assert "bprmf from random (reg)" in result.stdout
    page = (tmp_path / "s" / folder.name / "report.html").read_text()
    command = f"sgurinit study {file} --data {folder} --out {tmp_path / 's' / folder.name}"
    assert command in page


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("lightgcn.n_layers=0", ("lightgcn.n_layers is 0", "greater than or equal to 1")),
        ("lightgcn.n_layers=many", ("lightgcn.n_layers is 'many'", "valid integer")),
        ("lightgcn.layers=2", ("lightgcn.layers does not exist", "n_layers")),
        ("train.batch_size=0", ("train.batch_size is 0", "greater than or equal to 1")),
        ("mgcn.n_layers=2", ("'mgcn' is set but not compared",)),
        ("lightgcn", ("--set: 'lightgcn' is not NAME.FIELD=VALUE",)),
        ("=3", ("--set: '=3' is not NAME.FIELD=VALUE",)),
        ("hybrid-shuffled.scale=0", ("hybrid-shuffled.scale is 0", "or: Input should be greater")),
        ("random.n_clusters=2", ("random.n_clusters does not exist", "freeze")),
        ("local.local_weight=0.5", ("local.local_weight is 0.5: fixed at 1.0",)),
    ],
)
def test_bad_settings_name_the_field_and_the_range(
    folder: Path, tmp_path: Path, option: str, expected: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    arms = "random,sgurinit,local,hybrid-shuffled,random-scaled"
    words = ("compare", folder, "--models", "lightgcn", "--arms", arms, "--out", out)
    words = (*words, "--set", option)
    assert_one_line(run(*words), *expected)
    assert not out.exists()


def test_unknown_names_list_the_known_ones(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_one_line(run("train", "nothing", folder, "--out", out), "'nothing'", "lightgcn", "mgcn")
    assert_one_line(run("train", "vbpr", folder, "--init", "luck"), "'luck'", "permuted")
    assert_one_line(run("compare", folder, "--models", "", "--out", out), "models: none given")
    assert_one_line(run("init", folder, "--out", tmp_path / "x.txt"), "x.txt", ".safetensors")
    assert_one_line(
        run("init", folder, "--out", tmp_path / "no" / "x.safetensors"), "x.safetensors"
    )
    assert list(tmp_path.iterdir()) == []


def hkuds(path: Path) -> Path:
    """Write small data in the HKUDS layout."""
    data = planted(60, 50, n_topics=4)
    path.mkdir()
    for name, pairs in (("trn", data.train), ("val", data.valid), ("tst", data.test)):
        matrix = sparse.coo_matrix(pairs.matrix(60, 50))
        (path / f"{name}Mat.pkl").write_bytes(pickle.dumps(matrix))
    for modality, features in data.features.items():
        np.save(path / f"{modality}_feat.npy", features.values)
    return path


def missing_file(path: Path) -> None:
    (path / "valMat.pkl").unlink()


def truncated_array(path: Path) -> None:
    file = path / "image_feat.npy"
    file.write_bytes(file.read_bytes()[:-100])


def nan_feature(path: Path) -> None:
    values = np.load(path / "image_feat.npy")
    values[7, 3] = np.nan
    np.save(path / "image_feat.npy", values)


def item_out_of_range(path: Path) -> None:
    matrix = sparse.coo_matrix(([1.0], ([0], [70])), shape=(60, 80))
    (path / "tstMat.pkl").write_bytes(pickle.dumps(matrix))


class Malicious:
    """An object that creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.target}",)


def malicious_pickle(path: Path) -> None:
    (path / "trnMat.pkl").write_bytes(pickle.dumps(Malicious(path.parent / "owned")))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (missing_file, "valMat.pkl"),
        (truncated_array, "image_feat.npy"),
        (nan_feature, "row 7"),
        (item_out_of_range, "tstMat.pkl"),
        (malicious_pickle, "trnMat.pkl"),
    ],
)
def test_bad_data_gives_one_line_and_writes_nothing(
    tmp_path: Path, damage: Callable[[Path], None], expected: str
) -> None:
    path = hkuds(tmp_path / "data")
    assert run("inspect", path).exit_code == 0
    damage(path)
    for words in (
        ("inspect", path),
        ("init", path, "--out", tmp_path / "x.safetensors"),
        ("train", "lightgcn", path, "--out", tmp_path / "run"),
        ("compare", path, "--models", "lightgcn", "--out", tmp_path / "out"),
    ):
        assert_one_line(run(*words), expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["init", "planted", "--out", "x.safetensors", "--local-weight", "2"], "'--local-weight'"),
        (["init", "planted", "--preset", "best", "--out", "x.parquet"], "hybrid, published, stair"),
        (["init", "planted", "--out", "x.txt"], "use .safetensors or .parquet"),
        (["init", "planted", "--out", "none/x.parquet"], "a folder that exists"),
        (["init", "planted", "--out", "file/x.parquet"], "a folder that exists"),
        (
            ["init", "planted", "--out", "x.parquet", "--preprocess", "shake"],
            "center, unit, whiten",
        ),
        (["inspect"], "DATA"),
        (["inspect", "planted", "--deep"], "--deep"),
        (["inspect", "x" * 300], "cannot be read"),
        (["begin"], "No such command 'begin'"),
        (["train", "vbpr", "planted", "--set", "vbpr.reg=Infinity"], "finite"),
    ],
)
def test_wrong_arguments_give_one_line(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert_one_line(run(*words), expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


FIT = ("init", "data", "--out", "x.parquet")
PREPARE = ("prepare", "log.csv", "--out", "x")
COMPARE = ("compare", "data", "--out", "x", "--models")
STREAM = ("stream", "log.parquet", "--features", "text=text.npy", "--out", "x")


@pytest.mark.parametrize(
    ("call", "named", "words", "said"),
    [
        (
            lambda: prepare("log.csv", "x", min_value=4),
            'min_value is 4, but the log has no column of values; name it as `columns["value"]`',
            (*PREPARE, "--min-value", "4"),
            "--min-value is 4, but the log has no column of values; name it as --value",
        ),
        (
            lambda: prepare("log.csv", "x", split="fold"),
            "split is 'fold', allowed are random",
            (*PREPARE, "--split", "fold"),
            "--split is 'fold', allowed are random",
        ),
        (
            lambda: prepare("log.csv", "x", core=1, split="time"),
            'no column of times; name it as `columns["time"]`',
            (*PREPARE, "--core", "1", "--split", "time"),
            "no column of times; name it as --time",
        ),
        (
            lambda: prepare("log.csv", "x", ratios=(0, 1, 1)),
            "ratios is 0:1:1, expected three whole numbers",
            (*PREPARE, "--ratios", "0:1:1"),
            "--ratios is 0:1:1, expected three whole numbers",
        ),
        (
            lambda: prepare("log.csv", "x", time_unit="days"),
            "time_unit is 'days', allowed are s",
            (*PREPARE, "--time-unit", "days"),
            "--time-unit is 'days', allowed are s",
        ),
        (
            lambda: find_source(Path("log.csv"), columns={"time": "when"}),
            "give `separator` if that is wrong, `header` if the file has none, or name it as "
            '`columns["time"]`',
            (*PREPARE, "--time", "when"),
            "give --separator if that is wrong, --columns if the file has none, or name it as "
            "--time",
        ),
        (
            lambda: find_source(Path("log.csv"), columns={"item": "user"}),
            'name another as `columns["item"]`',
            (*PREPARE, "--item", "user"),
            "name another as --item",
        ),
        (
            lambda: find_source(Path("log.csv"), header=("user", "item")),
            'leave `header` out, and name columns as `columns["user"]`, `columns["item"]` and so',
            (*PREPARE, "--columns", "user,item"),
            "leave --columns out, and name columns as --user, --item and so",
        ),
        (
            lambda: join_text_columns("data", []),
            "columns: no column is named",
            ("encode", "data", "--text", ","),
            "--text: no column is named",
        ),
        (
            lambda: encode_attributes("data", "new", []),
            "attributes: no column is named",
            ("encode", "data", "--attributes", ",", "--modality", "new"),
            "--attributes: no column is named",
        ),
        (
            lambda: join_vectors("data", "a b", "text.npy", ids="ids.txt"),
            "modality is 'a b': use letters",
            ("encode", "data", "--vectors", "text.npy", "--ids", "ids.txt", "--modality", "a b"),
            "--modality is 'a b': use letters",
        ),
        (
            lambda: join_vectors("data", "text", "text.npy", ids="ids.txt"),
            "the modality 'text' exists already; give another `modality`, or `overwrite`",
            ("encode", "data", "--vectors", "text.npy", "--ids", "ids.txt"),
            "the modality 'text' exists already; give another --modality, or --overwrite",
        ),
        (
            lambda: join_vectors("data", "new", "text.npy"),
            "text.npy: `ids` goes with a .npy file",
            ("encode", "data", "--vectors", "text.npy", "--modality", "new"),
            "text.npy: --ids goes with a .npy file",
        ),
        (
            lambda: convert("data", "x", "hkuds"),
            "to is 'hkuds', which cannot be written; layouts: ",
            ("convert", "data", "x", "--to", "hkuds"),
            "--to is 'hkuds', which cannot be written; layouts: ",
        ),
        (
            lambda: SGURInit(n_clusters=500).fit(load_dataset("data")),
            "n_clusters=500 is more than the 80 distinct item rows",
            (*FIT, "--n-clusters", "500"),
            "--n-clusters=500 is more than the 80 distinct item rows",
        ),
        (
            lambda: SGURInit(local_norm="max").fit(load_dataset("data")),
            "local_norm must be one of mean, sym, got 'max'",
            (*FIT, "--local-norm", "max"),
            "--local-norm must be one of mean, sym, got 'max'",
        ),
        (
            lambda: SGURInit(collaborative_rank=8).fit(load_dataset("data")),
            "collaborative_rank=8 has no effect with collaborative=False:",
            (*FIT, "--collaborative-rank", "8"),
            "--collaborative-rank=8 has no effect with --no-collaborative:",
        ),
        (
            lambda: SGURInit().stream(
                "log.parquet", {"text": np.load("text.npy")}, "x", columns=("buyer", "item")
            ),
            "has no column 'buyer', it has user, item; name the one with the users as `columns[0]`",
            (*STREAM, "--user", "buyer"),
            "has no column 'buyer', it has user, item; name the one with the users as --user",
        ),
        (
            lambda: SGURInit(n_clusters=2).stream(
                "log.parquet", {"text": np.load("text.npy")}, "x", item_ids=range(5, 85)
            ),
            "give `item_ids` log.parquet, otherwise add the items to features and `item_ids`",
            (*STREAM, "--n-clusters", "2", "--item-ids", "late.parquet"),
            "give --item-ids log.parquet, otherwise add the items to features and --item-ids",
        ),
        (
            lambda: SGURInit.from_preset("hybrid").stream(
                "log.parquet", {"text": np.load("text.npy")}, "x"
            ),
            "collaborative=True has no effect without `joint_dim`: it only changes the joint",
            (*STREAM, "--preset", "hybrid"),
            "--collaborative has no effect without --joint-dim: it only changes the joint",
        ),
        (
            lambda: SGURInit().stream(
                "log.parquet", {"text": np.load("text.npy")}, "x", layout="csv"
            ),
            "layout must be one of npy, parquet, got 'csv'",
            (*STREAM, "--layout", "csv"),
            "--layout must be one of npy, parquet, got 'csv'",
        ),
        (
            lambda: compare("data", [], out="x"),
            "models: none given, expected at least one",
            (*COMPARE, ","),
            "--models: none given, expected at least one",
        ),
        (
            lambda: compare("data", ["bprmf"], ["random", "random"], out="x"),
            "arms: random is given twice",
            (*COMPARE, "bprmf", "--arms", "random,random"),
            "--arms: random is given twice",
        ),
        (
            lambda: shared_fields(["random"], {"n_clusters": 4}),
            "n_clusters is set, but none of the arms random takes it",
            (*COMPARE, "bprmf", "--arms", "random", "--n-clusters", "4"),
            "--n-clusters is set, but none of the arms random takes it",
        ),
        (
            lambda: parse_assignments(["x"], {}),
            "assignments: 'x' is not NAME.FIELD=VALUE",
            ("train", "bprmf", "data", "--set", "x"),
            "--set: 'x' is not NAME.FIELD=VALUE",
        ),
        (
            lambda: parse_assignments(["train.patience=2", "Train.patience = 3"], {}),
            "assignments: Train.patience is set twice",
            ("train", "bprmf", "data", "--set", "bprmf.reg=1", "--set", "bprmf.reg=2"),
            "--set: bprmf.reg is set twice; set it once",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_names_the_parameter_in_python_and_the_option_at_the_command_line(
    call: Callable[[], object],
    named: str,
    words: tuple[str, ...],
    said: str,
    small: Dataset,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(folder)
    pairs = {"user": small.train.users, "item": small.train.items}
    pl.DataFrame(pairs).write_csv("log.csv")
    pl.DataFrame(pairs).write_parquet("log.parquet")
    pl.DataFrame({"item": range(5, 85)}).write_parquet("late.parquet")
    np.save("text.npy", small.features["text"].values)
    Path("ids.txt").write_text("\n".join(map(str, range(80))))
    with pytest.raises(InputError) as caught:
        call()
    assert named in str(caught.value)
    assert not FLAG.search(str(caught.value))
    result = run(*words)
    assert_one_line(result, said)
    assert "`" not in result.stderr
    assert not Path("x").exists()


FLAG = re.compile(r"(?<![\w-])--[a-z]")


def texts_in(path: Path) -> Iterator[str]:
    """Yield every string of a module except docstrings; f-strings without their values."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield "".join(p.value for p in node.values if isinstance(p, ast.Constant))
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
        ):
            yield node.value


def test_only_the_command_line_knows_the_names_of_options() -> None:
    package = Path(sgurinit.__file__).parent
    files = {path.relative_to(package): path for path in package.rglob("*.py")}
    found = {
        str(place)
        for place, path in files.items()
        if place.parts[0]
        not in {"cli", "report"}  # the page has names of colors that look like options
        and any(FLAG.search(text) and "sgurinit " not in text for text in texts_in(path))
    }
    # Commands that get a data set or reproduce a comparison, and options of git.
    assert found <= {"data/catalog.py", "experiments/reproduce.py", "experiments/provenance.py"}


def test_runs_and_comparisons_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    words = ("compare", "planted", "--models", "lightgcn", "--out", tmp_path)
    assert_one_line(run(*words), "contains a single run")
    (tmp_path / "config.json").rename(tmp_path / "settings.json")
    assert_one_line(run("train", "lightgcn", "planted", "--out", tmp_path), "contains a comparison")


def test_a_comparison_is_not_written_among_other_files(tmp_path: Path) -> None:
    data = tmp_path / "shop"
    write_native(planted(60, 40), data)
    before = sorted(tmp_path.rglob("*"))
    words = ("compare", data, "--models", "lightgcn", "--arms", "random", "--out")
    assert_one_line(run(*words, data), "the folder of the data; choose another folder")
    assert_one_line(run("train", "lightgcn", data, "--out", data), "the folder of the data")
    words = ("compare", "planted", "--models", "lightgcn", "--arms", "random", "--out")
    assert_one_line(run(*words, data), "shop: contains a data set; choose another folder")
    assert_one_line(run(*words, tmp_path), "contains files but no comparison")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_folder_gives_one_line(tmp_path: Path) -> None:
    assert_one_line(run("inspect", tmp_path / "none"), "none: no such folder")


WITHOUT_EXTRA = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "torch", "lightning", "plotly", "class_resolver", "optuna", "yaml"
        }:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from sgurinit.cli import main
for arguments in ARGUMENTS:
    sys.argv = ["sgurinit", *arguments]
    try:
        main()
    except SystemExit as stop:
        print("exit", stop.code)
"""


@pytest.mark.slow
def test_without_the_extra_inspect_and_init_work_and_other_commands_name_it(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.safetensors"
    commands = [
        ["inspect", str(folder)],
        ["init", str(folder), "--out", str(out)],
        ["train", "lightgcn", str(folder)],
        ["compare", str(folder), "--models", "lightgcn", "--out", str(tmp_path / "o")],
    ]
    script = WITHOUT_EXTRA.replace("ARGUMENTS", repr(commands))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    codes = [line for line in done.stdout.splitlines() if line.startswith("exit")]
    assert codes == ["exit 0", "exit 0", "exit 2", "exit 2"]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("error: this command needs ")
        assert line.endswith("pip install 'sgurinit[train]'")
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


# So long that no run finishes before its parent has reacted to a signal.
EPOCHS = 150
LONG = TrainSettings(max_epochs=EPOCHS, patience=EPOCHS)
RUNS = ["lightgcn/random/seed-0", "lightgcn/sgurinit/seed-0"]


@pytest.fixture
def process(folder: Path, tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    """Launch a comparison of two runs in its own process group, and end it after the test."""
    started = []

    def start(jobs: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "sgurinit", "compare", str(folder), "--models", "lightgcn"]
        words += ["--arms", "random,sgurinit", "--seeds", "1", "--out", str(tmp_path / "out")]
        words += ["--max-epochs", str(EPOCHS), "--patience", str(EPOCHS), "--jobs", str(jobs)]
        started.append(
            subprocess.Popen(
                words,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def wait_for(reached: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300  # imports alone take a minute on a busy machine
    while not reached():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def epochs(log: Path) -> int:
    return log.read_text().count(" epoch ") if log.is_file() else 0


def assert_group_ends(group: int) -> None:
    """Check that every process of the group ends soon after the first."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a worker process was left behind")


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The same comparison without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    return compare(folder, ["lightgcn"], ["random", "sgurinit"], 1, out=out, settings=LONG)


def assert_resumes_to_the_same_numbers(folder: Path, tmp_path: Path, whole: Comparison) -> None:
    words = (folder, ["lightgcn"], ["random", "sgurinit"], 1)
    resumed = compare(*words, out=tmp_path / "out", settings=LONG)
    for name in ("results.csv", "curves.csv", *(f"runs/{run}/users.parquet" for run in RUNS)):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    for ours, theirs in zip(resumed.summary["results"], whole.summary["results"], strict=True):
        clocks = {"seconds": 0, "seconds_to_99_percent": 0}
        assert {**ours, **clocks} == {**theirs, **clocks}


@pytest.mark.slow
def test_a_comparison_killed_in_the_middle_resumes_to_the_same_numbers(
    process: Callable[[int], subprocess.Popen[str]], folder: Path, tmp_path: Path, whole: Comparison
) -> None:
    child = process(count_cores())  # one thread per run, like this process
    runs = [tmp_path / "out" / "runs" / run for run in RUNS]
    wait_for(lambda: any(epochs(run / "log.txt") >= 3 for run in runs), child)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert_group_ends(child.pid)
    assert not all((run / "result.json").exists() for run in runs)
    assert not (tmp_path / "out" / "results.csv").exists()
    assert_resumes_to_the_same_numbers(folder, tmp_path, whole)
    # No epoch is repeated. It is saved just before it is logged, so one line can be missing. The
    # start is repeated if no epoch was saved.
    assert all(EPOCHS <= epochs(run / "log.txt") <= EPOCHS + 2 for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, max(2, count_cores())], ids=["in process", "workers"])
def test_ctrl_c_keeps_finished_work_and_says_how_to_resume(
    process: Callable[[int], subprocess.Popen[str]],
    folder: Path,
    tmp_path: Path,
    whole: Comparison,
    jobs: int,
) -> None:
    child = process(jobs)
    runs = [tmp_path / "out" / "runs" / run for run in RUNS]
    wait_for(lambda: epochs(runs[1] / "log.txt") >= 3, child)
    os.killpg(child.pid, signal.SIGSTOP)  # so that it does not finish in the meantime
    busy = run("compare", folder, "--models", "lightgcn", "--out", tmp_path / "out")
    assert_one_line(busy, "another process is using it")
    os.killpg(child.pid, signal.SIGINT)
    os.killpg(child.pid, signal.SIGCONT)
    _, stderr = child.communicate(timeout=120)
    assert child.returncode == 130
    assert stderr.splitlines() == [
        f"2 runs, {jobs} at a time, in {tmp_path / 'out'}",
        "",
        f"stopped; finished work is kept in {tmp_path / 'out'}; run the same command again to "
        "resume",
    ]
    assert_group_ends(child.pid)
    assert not (runs[1] / "result.json").exists()
    assert (runs[0] / "result.json").exists() or jobs > 1
    assert_resumes_to_the_same_numbers(folder, tmp_path, whole)
