"""Files that are damaged or written with intent: one line each, no crash, no large memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

pytestmark = pytest.mark.campaign

MINUTES = float(os.environ.get("SGURINIT_CAMPAIGN_MINUTES", "0.5"))
# They take longer to resume than to read.
SLOW = {"stream-work", "compare-work", "study-work", "compared"}


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_nothing_but_input_errors_and_right_values(kind, tmp_path):
    facts = fuzz.fuzz(kind, MINUTES * 60 / len(fuzz.KINDS), 0, tmp_path)
    assert not facts["wrong"], json.dumps(facts["wrong"], indent=1)
    assert facts["tried"] >= fuzz.FEWEST
    assert facts["refused"] > 3 or kind in {*SLOW, "encode-work", "graph"}


def test_a_fault_is_kept_and_can_be_tried_again(tmp_path):
    program = (
        "import fuzz, fuzz_readers\n"
        "def read(*words, **others):\n"
        "    raise ZeroDivisionError('a fault')\n"
        "fuzz_readers.Archives.read, fuzz_readers.Archives.readable = read, False\n"
        "raise SystemExit(fuzz.main())\n"
    )
    words = ["archives", "--seed", "3", "--out", str(tmp_path)]
    helpers = str(Path(fuzz.__file__).parent)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *words, *more],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": helpers},
        )

    done = run("--child", "0")
    facts = json.loads(done.stdout.splitlines()[-1])
    assert list(facts["wrong"]) == ["ZeroDivisionError at <string>:3"], done.stderr
    kept = tmp_path / "wrong" / "archives-3-0"
    content = (kept / "a.zip").read_bytes()
    assert "a fault" in (kept / "fault.txt").read_text()
    again = run("--case", "0")
    assert again.returncode == 1
    assert "ZeroDivisionError: a fault" in again.stdout
    assert (kept / "a.zip").read_bytes() == content
