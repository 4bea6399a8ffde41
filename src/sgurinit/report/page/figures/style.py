"""Common style of all figures. Colors are variables of the style sheet, for light and dark mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from sgurinit._visible import make_visible

Colors = Mapping[str, str]

# The style sheet has eight colors that color-blind readers can tell apart.
_COLOR_OF_ARM = {
    "random": 0,
    "random-scaled": 0,
    "sgurinit": 1,
    "permuted": 2,
    "hybrid": 3,
    "hybrid-shuffled": 4,
    "global": 5,
    "collaborative": 6,
    "local": 7,
}
LINE_DASHES = {
    "random": "dash",
    "random-scaled": "dot",
    "permuted": "dot",
    "hybrid-shuffled": "dot",
}


def arm_colors(arms: Sequence[str]) -> dict[str, str]:
    """Choose one color per arm for all figures and tables, as a variable of the style sheet."""
    taken = {arm: _COLOR_OF_ARM[arm] for arm in arms if arm in _COLOR_OF_ARM}
    every = (6, 7, *range(6))
    free = [slot for slot in every if slot not in taken.values()] or every
    others = [arm for arm in arms if arm not in taken]
    taken |= {arm: free[at % len(free)] for at, arm in enumerate(others)}
    return {arm: f"var(--arm-{taken[arm]})" for arm in arms}


def figure_text(name: str) -> str:
    """Write a name as text of a figure, which takes some tags but no entities of quotes."""
    return escape(make_visible(name), quote=False)


def base_layout(height: int) -> dict[str, Any]:
    """Layout that all figures share."""
    axis = {
        "gridcolor": "var(--grid)",
        "zeroline": False,
        "linecolor": "var(--rule)",
        "showline": True,
        "ticks": "outside",
        "tickcolor": "var(--rule)",
        "automargin": True,
        "fixedrange": True,  # so that a swipe on a phone scrolls the page
        "title": {"standoff": 8},
    }
    return {
        "height": height,
        "margin": {"l": 60, "r": 12, "t": 8, "b": 44},
        "plot_bgcolor": "var(--paper)",
        "paper_bgcolor": "var(--paper)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--ink)"},
        "hoverlabel": {"bgcolor": "var(--panel)", "font": {"color": "var(--ink)"}},
        "hovermode": "x unified",
        "xaxis": axis,
        "yaxis": axis,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }


def row_heights(models: Sequence[str], arms: Sequence[str]) -> dict[str, dict[str, float]]:
    """Vertical position by arm and model in a figure with one row per model."""
    step = 0.5 / max(len(arms) - 1, 1)
    first = 0.0 if len(arms) == 1 else -0.25
    return {
        arm: {model: row + first + step * at for row, model in enumerate(models)}
        for at, arm in enumerate(arms)
    }


def set_model_rows(drawn: go.Figure, models: Sequence[str], n_arms: int, title: str) -> None:
    """Give a figure one row per model, enough height for its arms and a line at zero."""
    drawn.update_layout(base_layout(max(220, 80 + len(models) * max(34, 15 * n_arms))))
    drawn.update_layout(hovermode="closest", margin_l=84)
    drawn.update_xaxes(title_text=title, zeroline=True, rangemode="tozero")
    drawn.update_xaxes(zerolinecolor="var(--rule)", zerolinewidth=2)
    drawn.update_yaxes(
        tickvals=list(range(len(models))),
        ticktext=[figure_text(model) for model in models],
        range=[len(models) - 0.5, -0.5],
        showgrid=False,
    )
