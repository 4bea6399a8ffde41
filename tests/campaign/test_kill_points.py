"""Every command is killed before its changes to the disk; run again, it ends as if it never was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign

HELPER = Path(__file__).parents[1] / "helpers" / "kill_points.py"
# Of every command, so many changes are tried; with a long campaign all of them.
POINTS = 100_000 if "SGURINIT_CAMPAIGN_MINUTES" in os.environ else 10

LOG = """
import numpy as np, polars as pl
rng = np.random.default_rng(0)
pl.DataFrame({"user": rng.integers(0, 40, 600), "item": rng.integers(0, 20, 600)}).with_columns(
    pl.all().cast(pl.String)).write_parquet("log.parquet")
vectors = pl.Series("text", rng.normal(size=(20, 5)), dtype=pl.Array(pl.Float64, 5))
pl.DataFrame({"item": [str(n) for n in range(20)]}).with_columns(vectors).write_parquet("i.parquet")
"""
DATA = """
from sgurinit.data import planted, write_native
write_native(planted(60, 40), "data")
"""
STREAM = """
from sgurinit.core.stream import buckets, edges
buckets._BUCKET_SIZE, edges._CHUNK_ROWS = 150, 200
cli("stream", "log.parquet", "--features", "text=i.parquet", "--joint-dim", "2", "--n-clusters",
    "2", "--out", "out", "--jobs", "1", "--layout", "LAYOUT", "-q")
"""
ENCODE = """
import numpy as np
from sgurinit.data.encode import blocks, encode
from sgurinit.errors import InputError
blocks.BLOCK_SIZE = 8
class Length:
    name = "length"
    def __call__(self, values):
        return np.array([[len(v), 1.0] for v in values]), {}
try:
    encode("data", "length", ["a" * n for n in range(40)], Length())
except InputError as error:
    assert "exists already" in str(error), error
    raise SystemExit(2)
"""
STUDY = """
from pathlib import Path
Path("s.yaml").write_text("data: {path: data}\\nmodels: {bprmf: {}}\\narms: {random: {}}\\n"
    "seeds: 1\\ntrain: {max_epochs: 1}\\n")
"""
TRAIN = ("sgurinit.training.ranks", "sgurinit.experiments", "sgurinit.report.page")
WORDS = '"--arms", "random", "--seeds", "1", "--max-epochs", "1", "--out", "out", "-q"'
CASES = {
    "stream": (LOG, STREAM.replace("LAYOUT", "npy"), ()),
    "stream-parquet": (LOG, STREAM.replace("LAYOUT", "parquet"), ()),
    "prepare": (LOG, 'cli("prepare", "log.parquet", "--out", "out", "--core", "2", "-q")', ()),
    "convert": (DATA, 'cli("convert", "data", "out", "--to", "recbole", "-q")', ()),
    "init": (DATA, 'cli("init", "data", "--out", "out.safetensors", "-q")', ()),
    "encode": (DATA, ENCODE, ()),
    "compare": (DATA, f'cli("compare", "data", "--models", "bprmf", {WORDS})', TRAIN),
    "study": (DATA + STUDY, 'cli("study", "s.yaml", "-q")', TRAIN),
}
# What a run says about its time and place.
VARIES = re.compile(
    r"environment\.json|log\.txt|result\.json|summary\.json|epochs\.csv|curves\.csv|\.html|"
    r"\.ckpt|lifts|costs|\.lock|card\.json"
)


@pytest.mark.parametrize("case", CASES)
def test_a_command_killed_anywhere_ends_like_an_undisturbed_one(
    case: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    setup, code, imports = CASES[case]
    request = {
        "setup": setup,
        "code": code,
        "imports": ["sgurinit.cli", "sgurinit.core.stream.run", "sgurinit.data.prepare", *imports],
        "points": POINTS,
        "folder": str(tmp_path),
    }
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "SGURINIT_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, HELPER],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    whole, *killed = map(json.loads, done.stdout.splitlines())
    assert whole["exit"] == 0, done.stderr[-3000:]
    record_property("killed", f"before {len(killed)} of {whole['changes']} changes")
    assert len(killed) >= min(POINTS, whole["changes"])
    for run in killed:
        where = f"before change {run['at']} of {whole['changes']}"
        assert run["killed"] == 9, where
        # Refused only where the result is there already.
        assert run["exit"] in ({0, 2} if same(run["after"], whole) else {0}), (where, done.stderr)
        assert same(run["files"], whole), (where, list_differing(run["files"], whole["files"]))
        # What the clean-up of `encode` did not reach goes with the next `--overwrite`.
        left = [name for name in run["files"] if "/." in f"/{name}" and name not in whole["files"]]
        assert not left or (case == "encode" and run["exit"] == 2), (where, left)


def list_differing(found: dict[str, str], whole: dict[str, str]) -> list[str]:
    """Files that only one of two runs has, or that differ."""
    names = sorted(found.keys() | whole.keys())
    return [name for name in names if found.get(name) != whole.get(name)]


def same(found: dict[str, str], whole: dict[str, dict[str, str]]) -> bool:
    """Whether the visible files are those of an undisturbed run."""

    def visible(files: dict[str, str]) -> dict[str, str]:
        return {
            name: "" if VARIES.search(name) else digest
            for name, digest in files.items()
            if "/." not in f"/{name}"
        }

    return visible(found) == visible(whole["files"])
