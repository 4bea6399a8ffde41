"""Turn links to files outside ``docs/`` into links to the repository.

In the repository such a link is relative, for example ``../../CONTRIBUTING.md``. The site has no
such file, so the link leads to the file on the forge instead.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

_RELATIVE = re.compile(r"\]\(((?:\.\./)+)([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Replace every link that leaves ``docs/``."""
    depth = len(PurePosixPath(page.file.src_uri).parts)

    def replace(match: re.Match[str]) -> str:
        if match[1].count("../") < depth:  # stays inside docs/
            return match[0]
        return f"]({config.repo_url.rstrip('/')}/blob/main/{match[2]})"

    return _RELATIVE.sub(replace, markdown)
