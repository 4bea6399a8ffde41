"""Figures of scores: lifts by model and by group, and heat maps of sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from sgurinit.arms import BASELINE
from sgurinit.experiments.summary import (
    HEADLINE_METRIC,
    SummaryEntry,
    is_significant,
    lifts_by_seed,
)
from sgurinit.experiments.sweeps import Sweep, sweep_scores
from sgurinit.report.formatting import (
    format_interval,
    format_lift,
    format_p_value,
    format_percent,
    format_score,
)
from sgurinit.report.page.figures.style import (
    Colors,
    base_layout,
    figure_text,
    row_heights,
    set_model_rows,
)


def draw_lifts(entries: Sequence[SummaryEntry], colors: Colors) -> go.Figure:
    """Draw the lift of test Recall@20 over random, with a mark per model and arm.

    A mark is filled if the adjusted p-value is below 0.05, and hollow otherwise. Bars are 95 %
    intervals over users and seeds. Small marks are single seeds.

    Parameters
    ----------
    entries : sequence of mapping
        Summary entries of all models and arms, including random.
    colors : mapping of str to str
        Color of each arm.
    """
    models = list(dict.fromkeys(entry["model"] for entry in entries))
    arms = [a for a in dict.fromkeys(e["arm"] for e in entries) if a != BASELINE]
    baselines = {e["model"]: e for e in entries if e["arm"] == BASELINE}
    drawn = go.Figure()
    for arm, height in row_heights(models, arms).items():
        own = [entry for entry in entries if entry["arm"] == arm]
        seeds = [
            (100 * lift, height[entry["model"]])
            for entry in own
            for lift in lifts_by_seed(entry, baselines[entry["model"]])
        ]
        drawn.add_scatter(
            x=[x for x, _ in seeds],
            y=[y for _, y in seeds],
            mode="markers",
            marker={"color": colors[arm], "size": 5, "opacity": 0.45},
            legendgroup=arm,
            showlegend=False,
            hoverinfo="skip",
        )
        known = [entry for entry in own if _headline_score(entry).get("lift") is not None]
        symbols = [
            "circle" if is_significant(_headline_score(entry)) else "circle-open" for entry in known
        ]
        drawn.add_scatter(
            x=[100 * _headline_score(entry)["lift"] for entry in known],
            y=[height[entry["model"]] for entry in known],
            error_x=_error_bars([_headline_score(entry) for entry in known]),
            mode="markers",
            legendgroup=arm,
            showlegend=False,
            marker={
                "color": colors[arm],
                "size": 11,
                "symbol": symbols,
                "line": {"width": 2, "color": colors[arm]},
            },
            text=[_hover_text(entry) for entry in known],
            hovertemplate="%{text}<extra></extra>",
        )
        # Plotly's legend shows the first mark, which can be hollow. So it gets its own mark.
        legend = {"color": colors[arm], "size": 11}
        drawn.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker=legend,
            name=figure_text(arm),
            legendgroup=arm,
        )
    set_model_rows(drawn, models, len(arms), "lift of test Recall@20 over random, %")
    return drawn


def _headline_score(entry: SummaryEntry) -> Mapping[str, Any]:
    metric: Mapping[str, Any] = entry["test"][HEADLINE_METRIC]
    return metric


def _error_bars(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Intervals as distances from the lifts; none where they are unknown."""
    above, below = (
        [None if m.get(end) is None else 100 * abs(m[end] - m["lift"]) for m in metrics]
        for end in ("high", "low")
    )
    return {"array": above, "arrayminus": below, "width": 0, "thickness": 1.5}


def _hover_text(entry: SummaryEntry) -> str:
    metric = _headline_score(entry)
    lift = f"{format_lift(metric)} {format_interval(metric)}".strip()
    text = figure_text(f"{entry['model']}, {entry['arm']}: {lift}")
    text += f"<br>{format_score(metric)}"
    p = format_p_value(metric.get("p_holm"))
    return text + figure_text(f", p {p if p.startswith('<') else f'= {p}'}") if p else text


def draw_group_lifts(
    entries: Sequence[SummaryEntry], groups: Sequence[str], colors: Colors
) -> go.Figure:
    """Draw the lift of one model's Recall@20 over random in groups of users and items.

    Parameters
    ----------
    entries : sequence of mapping
        Summary entries of one model.
    groups : sequence of str
        Names of the groups.
    colors : mapping of str to str
        Color of each arm.
    """
    drawn = go.Figure()
    for entry in entries:
        if entry["arm"] == BASELINE:
            continue
        lifts = [entry["groups"][group][HEADLINE_METRIC].get("lift") for group in groups]
        drawn.add_bar(
            x=[figure_text(group).replace(" ", "<br>") for group in groups],  # fits on a phone
            y=[None if lift is None else 100 * lift for lift in lifts],
            name=figure_text(entry["arm"]),
            marker={"color": colors[entry["arm"]]},
            hovertemplate="%{y:+.1f} %",
        )
    drawn.update_layout(base_layout(290))
    drawn.update_layout(bargap=0.25)
    drawn.update_xaxes(title=None, type="category", tickangle=0)
    drawn.update_yaxes(
        title_text="lift of Recall@20, %", zeroline=True, zerolinecolor="var(--rule)"
    )
    return drawn


def draw_sweep(validation: pl.DataFrame, sweep: Sweep) -> go.Figure:
    """Draw a heat map of validation scores over the two fields of a sweep.

    Parameters
    ----------
    validation : DataFrame
        Scores of one model: arm, seed, value.
    sweep : Sweep
        The sweep.
    """
    scores = sweep_scores(validation, sweep)
    cells = {(across, down): rest for across, down, *rest in scores.iter_rows()}
    columns, rows = (list(dict.fromkeys(scores[axis])) for axis in ("across", "down"))
    across, down = sweep.fields
    drawn = go.Figure(
        go.Heatmap(
            x=[figure_text(value) for value in columns],
            y=[figure_text(value) for value in rows],
            z=[[cells[x, y][0] for x in columns] for y in rows],
            text=[[_cell_text(*cells[x, y]) for x in columns] for y in rows],
            texttemplate="%{text}",
            colorscale="Cividis",  # perceptually uniform, also for color-blind readers and in gray
            hovertemplate=f"{across} %{{x}}<br>{down} %{{y}}<br>%{{z:.4f}}<extra></extra>",
            colorbar={"thickness": 12, "outlinewidth": 0, "tickformat": ".3f"},
        )
    )
    drawn.update_layout(base_layout(310))
    drawn.update_layout(hovermode="closest")
    # Values are categories here, because their distances mean nothing.
    drawn.update_xaxes(type="category", title_text=across)
    drawn.update_yaxes(type="category", title_text=down)
    return drawn


def _cell_text(score: float, lift: float | None) -> str:
    return f"{score:.3f}" if lift is None else format_percent(lift, digits=0)
