"""Names of files and ids that look like parameters or patterns are shown and used as they are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sgurinit.cli import app


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
