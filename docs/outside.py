"""Links to files of the repository that are no pages of the site become text with the path."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Say where the file is instead of linking to it."""
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)
