"""On a full disk every command ends in one line that names the file; more space is enough."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytestmark = pytest.mark.campaign

COMMANDS = {
    "convert": "convert planted disk/out --to parquet",
    "init": "init planted --out disk/out.safetensors",
    "prepare": "prepare log.parquet --out disk/out --core 1",
    "stream": "stream log.parquet --features text=items.parquet --out disk/out --jobs 1",
    "encode": "encode disk/data --vectors items.parquet --modality text",
    "train": "train bprmf planted --max-epochs 1 --out disk/out",
    "compare": "compare planted --models bprmf --arms random --seeds 1 --max-epochs 1 "
    "--out disk/out",
}


def mount(folder: Path, options: str) -> None:
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB, and a log and vectors beside it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount(folder, "size=200k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a small disk")
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {"user": rng.integers(0, 3_000, 40_000), "item": rng.integers(0, 2_000, 40_000)}
    ).with_columns(pl.all().cast(pl.String)).write_parquet(tmp_path / "log.parquet")
    pl.DataFrame({"item": np.arange(2_000)}).with_columns(
        pl.col("item").cast(pl.String),
        text=pl.Series(rng.normal(size=(2_000, 32)), dtype=pl.Array(pl.Float64, 32)),
    ).write_parquet(tmp_path / "items.parquet")
    yield folder
    subprocess.run(["umount", folder], check=True)  # noqa: S607


def run(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sgurinit", *words.split(), "-q"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_more_space_is_enough(
    name: str, disk: Path, tmp_path: Path
) -> None:
    if name == "encode":  # the data set fits, its features do not
        mount(disk, "remount,size=2m")
        made = run("prepare log.parquet --out disk/data --core 1", tmp_path)
        assert made.returncode == 0, made.stderr
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
        mount(disk, f"remount,size={(used + 100_000) // 1024}k")
    elif name == "prepare":
        mount(disk, "remount,size=60k")
    full = run(COMMANDS[name], tmp_path)
    lines = [line for line in full.stderr.splitlines() if line]
    assert full.returncode == 2, full.stderr
    assert len(lines) == 1, full.stderr
    assert lines[0].startswith("error: disk/"), lines
    # NumPy says how much it could write instead.
    assert "No space left on device" in lines[0] or "requested and" in lines[0], lines
    assert not (disk / "out.safetensors").exists()
    mount(disk, "remount,size=100m")
    again = run(COMMANDS[name], tmp_path)
    assert again.returncode == 0, again.stderr
    assert not [path for path in disk.rglob(".*") if path.name != ".lock"]


def test_a_folder_that_cannot_be_written_is_one_line(disk: Path, tmp_path: Path) -> None:
    mount(disk, "remount,ro")
    for name in ("convert", "init", "stream"):
        done = run(COMMANDS[name], tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: disk/out"), done.stderr
        assert "Read-only file system" in done.stderr
        assert done.stderr.count("\n") == 1
