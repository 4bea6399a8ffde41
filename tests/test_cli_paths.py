"""Names of files and ids that look like parameters or patterns are shown and used as they are."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import planted, write_native
from sgurinit.data.prepare import find_source
from sgurinit.data.prepare.log import read_log
from sgurinit.errors import InputError
from sgurinit.files import write_table


def run(*words: object) -> str:
    """Run a command that fails, and return its one line."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "name",
    [
        "core=5.csv",
        "seed=3/core=2/log.csv",
        "logs/out=1.csv",
        "a,core=5.csv",
        "[a]*?.csv",
        "{~$x}.csv",
    ],
)
def test_a_path_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("user,item\na,\n")
    assert run("prepare", name, "--out", "x").startswith(f"error: {name}: line 2: item is missing")
    absolute = tmp_path / name
    assert run("prepare", absolute, "--out", "x").startswith(f"error: {absolute}: line 2: item is")


def test_types_of_columns_are_shown_as_they_are(tmp_path: Path) -> None:
    times = pl.Series([1], dtype=pl.Duration("us"))
    pl.DataFrame({"user": times, "item": ["a"]}).write_parquet(tmp_path / "log.parquet")
    line = run("prepare", tmp_path / "log.parquet", "--out", tmp_path / "x")
    assert "column user is Duration(time_unit='us'); text or integers" in line


def test_the_root_is_no_new_folder() -> None:
    assert "error: /: cannot be the name of a new folder" in run(
        "convert", "planted", "/", "--to", "csv"
    )


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npy"])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    good = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["a"], "item": ["b"], "text": [[1.0]]}).write_parquet(good)
    out = ("--out", tmp_path / "x")
    assert "not a file but a pipe" in run("prepare", tmp_path / name, *out)
    assert "not a file but a pipe" in run(
        "stream", tmp_path / name, "--features", f"text={good}", *out
    )
    features = ("--features", f"text={tmp_path / name}")
    assert "file is missing" in run("stream", good, *features, *out)


def test_a_folder_named_like_a_home_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder, user in (("~", "right"), ("home", "wrong")):
        Path(folder).mkdir()
        table = pl.DataFrame({"user": [user], "item": ["i"]})
        table.write_parquet(tmp_path / folder / "log.parquet")
        table.write_csv(tmp_path / folder / "log.csv")
        table.write_ndjson(tmp_path / folder / "log.jsonl")
    for name in ("log.parquet", "log.csv", "log.jsonl"):
        assert read_log(find_source(Path("~", name))).user_ids.to_list() == ["right"]
    write_table(Path("~/a.parquet"), pl.DataFrame({"x": [1]}))
    assert pl.read_parquet(tmp_path / "~" / "a.parquet")["x"].to_list() == [1]
    assert {path.name for path in Path("home").iterdir()} == {
        *("log.parquet", "log.csv", "log.jsonl")
    }


@pytest.mark.parametrize("target", ["nowhere", "link", "empty"])
def test_a_link_is_no_new_folder(tmp_path: Path, target: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(target)
    line = run("convert", "planted", tmp_path / "link", "--to", "csv")
    assert "link: is a link; give a new folder" in line
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "link"}


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes only names of UTF-8 text")
    (folder / "log.csv").write_text("user,item\na,b\n")
    with pytest.raises(InputError, match="the path is not UTF-8 text"):
        write_native(planted(50, 40), folder / "x")
    with pytest.raises(InputError, match="the path is not UTF-8 text"):
        read_log(find_source(folder / "log.csv"))
    assert {path.name for path in folder.iterdir()} == {"log.csv"}
