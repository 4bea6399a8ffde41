"""Style, script, figures and the plotting library, embedded so that the page is one file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from sgurinit.report.page.markup import escape

_DIGITS = 5  # decimals of numbers in figures; the CSV files have all of them


def page_head(title: str) -> str:
    """Write the beginning of a page, up to its body."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n"
    )


def page_tail() -> Iterator[str]:
    """Yield the end of a page: plotly's library and the page's script.

    The library is compressed from 5 to 2 MB and decompressed by the browser. So the page is small,
    makes no network requests and draws with the installed version of plotly.
    """
    packed = gzip.compress(get_plotlyjs().encode(), mtime=0)
    yield f'<script type="text/plain" id="plotly">{base64.b64encode(packed).decode()}</script>\n'
    yield f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"


def embed_figure(drawn: go.Figure, name: str, caption: str, *, wide: bool = False) -> str:
    """Embed a figure, which the page's script draws.

    Parameters
    ----------
    drawn : Figure
        The figure. Its layout must have a height. Colors can be ``var(--name)``, a variable of the
        style sheet.
    name : str
        Identifier, unique on the page.
    caption : str
        Caption, also read out by screen readers.
    wide : bool, default False
        Use the full width of the page.
    """
    content = drawn.to_plotly_json()
    content["layout"].pop("template", None)
    data = json.dumps(_round(content), separators=(",", ":")).replace("<", "\\u003c")
    label = escape(caption)
    return (
        f"<figure{' class=wide' if wide else ''}><figcaption>{label}</figcaption>"
        f'<div class="plot undrawn" id="{name}" role="img" aria-label="{label}" '
        f'style="height:{drawn.layout.height}px">drawn when scrolled into view</div>'
        f'<script type="application/json">{data}</script></figure>\n'
    )


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {key: _round(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_round(inner) for inner in value]
    return value


def _asset(name: str) -> str:
    return (files("sgurinit.report.page") / "assets" / name).read_text(encoding="utf-8")
