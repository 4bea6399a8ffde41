"""Settings for `ranx`: compiling it takes minutes, interpreting it on small cases seconds."""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
