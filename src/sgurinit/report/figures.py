"""Figures of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from sgurinit.report.sweeps import Sweep
from sgurinit.report.wording import BASELINE

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_KNOWN = {
    "random": "#6b6b6b",
    "sgurinit": "#0072b2",
    "permuted": "#e69f00",
    "local": "#009e73",
    "global": "#cc79a7",
}
_OTHERS = ("#d55e00", "#56b4e9", "#000000")
_DASHES = {"random": "dash", "permuted": "dot"}


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """One colour per arm, the same in every figure."""
    others = [arm for arm in arms if arm not in _KNOWN]
    return {arm: _KNOWN.get(arm) or _OTHERS[others.index(arm) % len(_OTHERS)] for arm in arms}


def convergence(curves: pl.DataFrame, model: str, arms: Sequence[str], metric: str) -> go.Figure:
    """Validation score by epoch: a thin line per seed, a thick one for their mean.

    The mean ends where the first seed stops, for beyond it the seeds are others. A dot marks each
    seed's best epoch.

    Parameters
    ----------
    curves
        See `curves_table`.
    model, metric
        Which model and which of its validation metrics.
    arms
        In the order of the legend.
    """
    figure = go.Figure()
    for arm, colour in arm_colours(arms).items():
        own = curves.filter((pl.col("model") == model) & (pl.col("arm") == arm))
        seeds = [part.sort("epoch") for _, part in sorted(own.group_by("seed"))]
        for part in seeds:
            figure.add_trace(_seed_line(part, metric, arm, colour))
        figure.add_trace(_mean_line(seeds, metric, arm, colour))
        figure.add_trace(_best_dots(seeds, metric, arm, colour))
    figure.update_layout(_LAYOUT)
    if curves["epoch"].n_unique() <= 10:  # or else there are ticks between whole epochs
        figure.update_xaxes(dtick=1)
    return figure


def _seed_line(part: pl.DataFrame, metric: str, arm: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=(part["epoch"] + 1).to_list(),
        y=part[metric].to_list(),
        mode="lines",
        line={"color": colour, "width": 1},
        opacity=0.35,
        legendgroup=arm,
        showlegend=False,
        hoverinfo="skip",
    )


def _mean_line(seeds: Sequence[pl.DataFrame], metric: str, arm: str, colour: str) -> go.Scatter:
    length = min(part.height for part in seeds)
    columns = [part[metric].head(length) for part in seeds]
    mean = pl.DataFrame({str(n): column for n, column in enumerate(columns)}).mean_horizontal()
    return go.Scatter(
        x=list(range(1, length + 1)),
        y=mean.to_list(),
        mode="lines",
        name=arm,
        legendgroup=arm,
        line={"color": colour, "width": 3, "dash": _DASHES.get(arm, "solid")},
        hovertemplate="%{y:.4f}",
    )


def _best_dots(seeds: Sequence[pl.DataFrame], metric: str, arm: str, colour: str) -> go.Scatter:
    at = [int(part[metric].arg_max() or 0) for part in seeds]
    return go.Scatter(
        x=[best + 1 for best in at],
        y=[part[metric][best] for part, best in zip(seeds, at, strict=True)],
        mode="markers",
        marker={"color": colour, "size": 9, "line": {"color": "white", "width": 1.5}},
        legendgroup=arm,
        showlegend=False,
        name=f"{arm}, best epoch",
        hovertemplate="epoch %{x}: %{y:.4f}",
    )


def sweep(results: pl.DataFrame, model: str, found: Sweep, metric: str) -> go.Figure:
    """Heat map of validation scores over the two fields of a sweep.

    Parameters
    ----------
    results
        See `results_table`.
    model, metric
        Which model and which of its validation metrics.
    found
        Which arms, and where they go.
    """
    name, _, k = metric.partition("@")
    scores = (
        results.filter(split="valid", group="all", model=model, metric=name, k=int(k))
        .group_by("arm")
        .agg(pl.col("value").mean())
    )
    by_arm: dict[str, float] = dict(scores.iter_rows())
    base = by_arm.get(BASELINE)
    across, down = (list(dict.fromkeys(values[part] for values in found.arms)) for part in (0, 1))
    cells = [[by_arm[found.arms[x, y]] for x in across] for y in down]
    figure = go.Figure(
        go.Heatmap(
            x=across,
            y=down,
            z=cells,
            text=[[_in_cell(value, base) for value in row] for row in cells],
            texttemplate="%{text}",
            colorscale="Cividis",  # even for colour-blind readers, and in grey
            hovertemplate=(
                f"{found.fields[0]} %{{x}}<br>{found.fields[1]} %{{y}}<br>%{{z:.4f}}<extra></extra>"
            ),
            colorbar={"thickness": 12, "outlinewidth": 0, "tickformat": ".3f"},
        )
    )
    figure.update_layout(_LAYOUT)
    figure.update_layout(hovermode="closest")
    # Values are names here: their distances mean nothing.
    figure.update_xaxes(type="category", title=found.fields[0])
    figure.update_yaxes(type="category", title=found.fields[1])
    return figure


def _in_cell(value: float, base: float | None) -> str:
    return f"{value:.3f}" if base is None else f"{100 * (value / base - 1):+.0f}%"


_AXIS: Mapping[str, Any] = {
    "gridcolor": "#e8e8e8",
    "zeroline": False,
    "linecolor": "#999",
    "showline": True,
    "ticks": "outside",
    "tickcolor": "#999",
}
_LAYOUT: Mapping[str, Any] = {
    "height": 300,
    "margin": {"l": 64, "r": 12, "t": 8, "b": 44},
    "plot_bgcolor": "white",
    "paper_bgcolor": "white",
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
    "hovermode": "x unified",
    "xaxis": {**_AXIS, "title": {"text": "epoch"}},
    "yaxis": {**_AXIS, "title": {"text": "validation Recall@20"}},
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
}
