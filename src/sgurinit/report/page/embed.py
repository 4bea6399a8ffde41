"""What a page holds in itself: style, script, figures and the library that draws them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

DIGITS = 5  # of a figure's numbers; nobody sees more, the tables on disk have all


def head(title: str) -> str:
    """Begin of a page, up to its body."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
    )


def tail() -> Iterator[str]:
    """End of a page: the script, and the library that came with plotly.

    The library is compressed, which leaves 2 of its nearly 5 MB; the browser inflates it. So the
    page is small, asks nothing of the network, and draws with the version that is installed.
    """
    packed = gzip.compress(get_plotlyjs().encode(), mtime=0)
    yield f'<script type="text/plain" id="plotly">{base64.b64encode(packed).decode()}</script>\n'
    yield f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"


def figure(drawn: go.Figure, name: str, caption: str, *, wide: bool = False) -> str:
    """Embed one figure, to be drawn by the page's script.

    Parameters
    ----------
    drawn
        The figure; its layout has a height. Colours may be ``var(--name)`` of the style sheet.
    name
        Identifier, unique on the page.
    caption
        What it shows, read out where it cannot be seen.
    wide
        Over the page's whole width.
    """
    content = drawn.to_plotly_json()
    content["layout"].pop("template", None)
    text = json.dumps(_rounded(content), separators=(",", ":")).replace("<", "\\u003c")
    said = escape(caption)
    return (
        f"<figure{' class=wide' if wide else ''}><figcaption>{said}</figcaption>"
        f'<div class="plot undrawn" id="{name}" role="img" aria-label="{said}" '
        f'style="height:{drawn.layout.height}px">drawn when it comes into sight</div>'
        f'<script type="application/json">{text}</script></figure>\n'
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


def _asset(name: str) -> str:
    return (files("sgurinit.report.page") / "assets" / name).read_text(encoding="utf-8")
