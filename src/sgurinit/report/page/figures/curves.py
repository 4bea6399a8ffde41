"""Figures of learning curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
import polars as pl

from sgurinit.experiments.tables import curves_by_seed, mean_curve
from sgurinit.report.formatting import format_metric
from sgurinit.report.page.figures.style import LINE_DASHES, Colors, base_layout, figure_text

# Points per curve of a seed. Of longer curves, only every n-th epoch is drawn.
_MAX_POINTS = 300


def draw_curves(curves: pl.DataFrame, colors: Colors, metric: str) -> go.Figure:
    """Draw the validation score by epoch: a thin line per seed and a thick line for their mean.

    The start is at epoch 0. A dot marks the best epoch of each seed, whose weights are tested.

    Parameters
    ----------
    curves : DataFrame
        Curves of one model: arm, seed, epoch and the metric.
    colors : mapping of str to str
        Color of each arm, in the order of the legend.
    metric : str
        Name of the validation metric.
    """
    drawn = go.Figure()
    for arm, color in colors.items():
        own = curves.filter(arm=arm)
        if own.is_empty():
            continue
        seeds = curves_by_seed(own, metric)
        for scores in seeds:
            drawn.add_trace(_seed_line(scores, arm, color))
        drawn.add_trace(_mean_line(mean_curve(own, metric), arm, color))
        drawn.add_trace(_best_epochs(seeds, arm, color))
    _set_axes(drawn, 310, metric)
    if curves["epoch"].n_unique() <= 10:  # otherwise ticks would be at fractions of an epoch
        drawn.update_xaxes(dtick=1)
    return drawn


def draw_curves_side_by_side(
    parts: Iterator[tuple[str, str, pl.DataFrame]], colors: Colors, metric: str
) -> go.Figure:
    """Draw the mean validation score by epoch of one model in several comparisons.

    Parameters
    ----------
    parts : iterator of tuple
        Name of the comparison, dash of its lines, and the curves of the model in it.
    colors : mapping of str to str
        Color of each arm.
    metric : str
        Name of the validation metric.
    """
    drawn = go.Figure()
    for name, dash, curves in parts:
        for arm, color in colors.items():
            own = curves.filter(arm=arm)
            if own.is_empty():
                continue
            line = _mean_line(mean_curve(own, metric), arm, color)
            drawn.add_trace(
                line.update(name=figure_text(f"{arm}, {name}"), line={"dash": dash, "width": 2})
            )
    _set_axes(drawn, 340, metric)
    return drawn


def _set_axes(drawn: go.Figure, height: int, metric: str) -> None:
    # An unlimited hover distance shows the nearest epoch wherever the pointer is.
    drawn.update_layout(base_layout(height), hoverdistance=-1)
    drawn.update_xaxes(title_text="epoch", rangemode="tozero")
    drawn.update_yaxes(title_text=f"validation {format_metric(metric)}")


def _seed_line(scores: pl.Series, arm: str, color: str) -> go.Scatter:
    step = -(-len(scores) // _MAX_POINTS)
    return go.Scatter(
        x0=0,
        dx=step,
        y=scores.gather_every(step).to_list(),
        mode="lines",
        line={"color": color, "width": 1},
        opacity=0.35,
        legendgroup=arm,
        showlegend=False,
        hoverinfo="skip",
    )


def _mean_line(scores: Sequence[float], arm: str, color: str) -> go.Scatter:
    return go.Scatter(
        x0=0,
        dx=1,
        y=scores,
        mode="lines",
        name=figure_text(arm),
        legendgroup=arm,
        line={"color": color, "width": 3, "dash": LINE_DASHES.get(arm, "solid")},
        hovertemplate="%{y:.4f}",
    )


def _best_epochs(seeds: Sequence[pl.Series], arm: str, color: str) -> go.Scatter:
    at = [int(scores.arg_max() or 0) for scores in seeds]
    return go.Scatter(
        x=at,
        y=[scores[best] for scores, best in zip(seeds, at, strict=True)],
        mode="markers",
        marker={"color": color, "size": 9, "line": {"color": "var(--paper)", "width": 1.5}},
        cliponaxis=False,  # a dot at the start is whole
        legendgroup=arm,
        showlegend=False,
        name=figure_text(f"{arm}, best epoch"),
        hovertemplate="epoch %{x}: %{y:.4f}",
    )
