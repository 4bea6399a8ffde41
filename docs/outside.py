"""Links to files of the repository that are no pages of the site become text with the path."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Say where the file is instead of linking to it."""
    if "/" in page.file.src_uri:  # there, one folder up is the site itself
        return markdown
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)
