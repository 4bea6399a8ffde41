"""`ranx` is the reference, on small cases: compiling it takes minutes, interpreting seconds."""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
