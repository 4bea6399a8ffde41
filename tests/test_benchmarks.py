"""The benchmarks run, on generated data and without a peer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize("name", ["core", "prepare", "spark", "toolkit", "training"])
def test_a_benchmark_says_how_it_is_run(name):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_training_measures_our_models(tmp_path):
    out = tmp_path / "figures.csv"
    done = subprocess.run(
        [
            sys.executable, str(BENCHMARKS / "training.py"), "planted", "--models", "bprmf,freedom",
            "--threads", "1", "--epochs", "3", "--out", str(out),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["bprmf", "freedom"]
    table = pl.read_csv(out)
    assert table["model"].to_list() == ["bprmf", "freedom"]
    assert (table["train_seconds"] > 0).all()
    assert (table["peak_mb"] > 100).all()
    # Shares of an epoch; what is left is the work itself, so it was seen.
    assert (table["loop"] > 0).all()
    assert (table["saving"] > 0).all()
    assert (table["loop"] + table["saving"] < 1).all()


def test_the_toolkits_settings_are_for_models_of_ours():
    done = subprocess.run(
        [
            sys.executable, "-c",
            "from toolkit import TOOLKIT; from sgurinit.models import models;"
            "assert set(TOOLKIT) <= set(models.options), TOOLKIT",
        ],
        cwd=BENCHMARKS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_method_is_measured_at_any_size(tmp_path):
    out = tmp_path / "figures.csv"
    done = subprocess.run(
        [
            sys.executable, str(BENCHMARKS / "core.py"), "stream", str(tmp_path / "logs"),
            "--sizes", "2e4,4e4", "--out", str(out),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pl.read_csv(out)
    assert table["interactions"].to_list() == [20_000, 40_000]
    assert (table["seconds"] > 0).all()
    assert (table["peak_gb"] > 0.05).all()


def test_preparing_is_measured_at_any_size(tmp_path):
    out = tmp_path / "figures.csv"
    done = subprocess.run(
        [
            sys.executable, str(BENCHMARKS / "prepare.py"), str(tmp_path), "--sizes", "2e4",
            "--out", str(out),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pl.read_csv(out)
    assert (table["kept"] > 0).all()
    assert (table["peak_gb"] > 0.05).all()
