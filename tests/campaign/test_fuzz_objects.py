"""Files that somebody damaged or wrote with intent: one line each, no crash, no large memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign

HELPER = Path(__file__).parents[1] / "helpers" / "fuzz_objects.py"
MINUTES = float(os.environ.get("SGURINIT_CAMPAIGN_MINUTES", "0.2"))
KINDS = ("start", "model", "store", "graph", "summary", "run", "arrays")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_input_errors(kind, tmp_path):
    # In its own process, since a fault could end it, and with little more memory than it has.
    done = subprocess.run(
        [sys.executable, str(HELPER), kind, str(MINUTES * 60 / len(KINDS)), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SGURINIT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["tried"] > 10
    assert not facts["wrong"], json.dumps(facts["wrong"], indent=1)
