"""Figures of the page. Their colours are names of the style sheet, which knows light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from sgurinit.arms import BASELINE
from sgurinit.experiments.lifts import HEADLINE_METRIC, Entry
from sgurinit.experiments.sweeps import Sweep
from sgurinit.report import formatting

# The style sheet has eight colours that colour-blind readers can tell apart.
_KNOWN = {
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
_DASHES = {"random": "dash", "random-scaled": "dot", "permuted": "dot", "hybrid-shuffled": "dot"}
_SURE = 0.05
_POINTS = (
    300  # of one seed's curve; of a longer one every second epoch is drawn, or every third ...
)


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """One colour per arm, the same in every figure and table, as the style sheet names it."""
    taken = {arm: _KNOWN[arm] for arm in arms if arm in _KNOWN}
    every = (6, 7, *range(6))
    free = [slot for slot in every if slot not in taken.values()] or every
    others = [arm for arm in arms if arm not in taken]
    taken |= {arm: free[at % len(free)] for at, arm in enumerate(others)}
    return {arm: f"var(--arm-{taken[arm]})" for arm in arms}


def gains(entries: Sequence[Entry], colours: Mapping[str, str]) -> go.Figure:
    """Lift of test Recall@20 over random: a mark per model and arm, small ones for its seeds.

    A filled mark has an adjusted p below 0.05, a hollow one has not.

    Parameters
    ----------
    entries
        Of all models and arms, random among them.
    colours
        Of the arms.
    """
    models = list(dict.fromkeys(entry["model"] for entry in entries))
    arms = [a for a in dict.fromkeys(e["arm"] for e in entries) if a != BASELINE]
    base = {e["model"]: _headline(e) for e in entries if e["arm"] == BASELINE}
    drawn = go.Figure()
    for arm, height in places(models, arms).items():
        own = [entry for entry in entries if entry["arm"] == arm]
        seeds = [
            (100 * (mine / theirs - 1), height[entry["model"]])
            for entry in own
            for mine, theirs in zip(
                _headline(entry)["per_seed"], base[entry["model"]]["per_seed"], strict=True
            )
            if theirs
        ]
        drawn.add_scatter(
            x=[x for x, _ in seeds],
            y=[y for _, y in seeds],
            mode="markers",
            marker={"color": colours[arm], "size": 5, "opacity": 0.45},
            legendgroup=arm,
            showlegend=False,
            hoverinfo="skip",
        )
        known = [entry for entry in own if _headline(entry).get("lift") is not None]
        drawn.add_scatter(
            x=[100 * _headline(entry)["lift"] for entry in known],
            y=[height[entry["model"]] for entry in known],
            mode="markers",
            legendgroup=arm,
            showlegend=False,
            marker={
                "color": colours[arm],
                "size": 11,
                "symbol": ["circle" if _is_sure(e) else "circle-open" for e in known],
                "line": {"width": 2, "color": colours[arm]},
            },
            text=[_told(entry) for entry in known],
            hovertemplate="%{text}<extra></extra>",
        )
        # The legend would show the first mark, which may be a hollow one.
        legend = {"color": colours[arm], "size": 11}
        drawn.add_scatter(
            x=[None], y=[None], mode="markers", marker=legend, name=arm, legendgroup=arm
        )
    by_model(drawn, models, len(arms), "lift of test Recall@20 over random, %")
    return drawn


def places(models: Sequence[str], arms: Sequence[str]) -> dict[str, dict[str, float]]:
    """Height of every model, a little apart by arm, in a figure with a row per model."""
    step = 0.5 / max(len(arms) - 1, 1)
    first = 0.0 if len(arms) == 1 else -0.25
    return {
        arm: {model: row + first + step * at for row, model in enumerate(models)}
        for at, arm in enumerate(arms)
    }


def by_model(drawn: go.Figure, models: Sequence[str], n_arms: int, title: str) -> None:
    """Give a figure a row per model, high enough for its arms, and a line at zero."""
    drawn.update_layout(layout(max(220, 80 + len(models) * max(34, 15 * n_arms))))
    drawn.update_layout(hovermode="closest", margin_l=84)
    drawn.update_xaxes(title_text=title, zeroline=True, rangemode="tozero")
    drawn.update_xaxes(zerolinecolor="var(--rule)", zerolinewidth=2)
    drawn.update_yaxes(
        tickvals=list(range(len(models))),
        ticktext=models,
        range=[len(models) - 0.5, -0.5],
        showgrid=False,
    )


def _headline(entry: Entry) -> Mapping[str, Any]:
    metric: Mapping[str, Any] = entry["test"][HEADLINE_METRIC]
    return metric


def _is_sure(entry: Entry) -> bool:
    p = _headline(entry).get("p_holm")
    return p is not None and p < _SURE


def _told(entry: Entry) -> str:
    metric = _headline(entry)
    p = formatting.p_value(metric)
    words = (
        f"{entry['model']}, {entry['arm']}: {formatting.lift(metric)}<br>{formatting.score(metric)}"
    )
    return f"{words}, p {p if p.startswith('<') else f'= {p}'}" if p else words


def by_group(
    entries: Sequence[Entry], names: Sequence[str], colours: Mapping[str, str]
) -> go.Figure:
    """Lift of one model's Recall@20 over random in each group of users or items.

    Parameters
    ----------
    entries
        Of one model.
    names
        Which groups.
    colours
        Of the arms.
    """
    drawn = go.Figure()
    for entry in entries:
        if entry["arm"] == BASELINE:
            continue
        lifts = [entry["groups"][name][HEADLINE_METRIC].get("lift") for name in names]
        drawn.add_bar(
            x=[name.replace(" ", "<br>") for name in names],  # a phone has no room for a line
            y=[None if lift is None else 100 * lift for lift in lifts],
            name=entry["arm"],
            marker={"color": colours[entry["arm"]]},
            hovertemplate="%{y:+.1f} %",
        )
    drawn.update_layout(layout(290))
    drawn.update_layout(bargap=0.25)
    drawn.update_xaxes(title=None, type="category", tickangle=0)
    drawn.update_yaxes(
        title_text="lift of Recall@20, %", zeroline=True, zerolinecolor="var(--rule)"
    )
    return drawn


def convergence(curves: pl.DataFrame, colours: Mapping[str, str], metric: str) -> go.Figure:
    """Validation score by epoch: a thin line per seed, a thick one for their mean.

    The mean ends where the first seed stops, for beyond it the seeds are others. A dot marks each
    seed's best epoch, to which early stopping goes back.

    Parameters
    ----------
    curves
        Of one model: arm, seed, epoch and the metric.
    colours
        Of the arms to draw, in the order of the legend.
    metric
        Which validation metric.
    """
    drawn = go.Figure()
    for arm, colour in colours.items():
        own = curves.filter(arm=arm)
        if own.is_empty():
            continue
        seeds = [part.sort("epoch")[metric] for _, part in sorted(own.group_by("seed"))]
        for scores in seeds:
            drawn.add_trace(_seed_line(scores, arm, colour))
        drawn.add_trace(_mean_line(seeds, arm, colour))
        drawn.add_trace(_best_dots(seeds, arm, colour))
    drawn.update_layout(layout(310), hoverdistance=-1)  # the nearest epoch, however far
    drawn.update_xaxes(title_text="epoch", rangemode="tozero")
    drawn.update_yaxes(title_text=f"validation {formatting.title(metric)}")
    if curves["epoch"].n_unique() <= 10:  # or else there are ticks between whole epochs
        drawn.update_xaxes(dtick=1)
    return drawn


def _seed_line(scores: pl.Series, arm: str, colour: str) -> go.Scatter:
    step = -(-len(scores) // _POINTS)
    return go.Scatter(
        x0=1,
        dx=step,
        y=scores.gather_every(step).to_list(),
        mode="lines",
        line={"color": colour, "width": 1},
        opacity=0.35,
        legendgroup=arm,
        showlegend=False,
        hoverinfo="skip",
    )


def _mean_line(seeds: Sequence[pl.Series], arm: str, colour: str) -> go.Scatter:
    length = min(map(len, seeds))
    columns = {str(at): scores.head(length) for at, scores in enumerate(seeds)}
    return go.Scatter(
        x0=1,
        dx=1,
        y=pl.DataFrame(columns).mean_horizontal().to_list(),
        mode="lines",
        name=arm,
        legendgroup=arm,
        line={"color": colour, "width": 3, "dash": _DASHES.get(arm, "solid")},
        hovertemplate="%{y:.4f}",
    )


def _best_dots(seeds: Sequence[pl.Series], arm: str, colour: str) -> go.Scatter:
    at = [int(scores.arg_max() or 0) for scores in seeds]
    return go.Scatter(
        x=[best + 1 for best in at],
        y=[scores[best] for scores, best in zip(seeds, at, strict=True)],
        mode="markers",
        marker={"color": colour, "size": 9, "line": {"color": "var(--paper)", "width": 1.5}},
        legendgroup=arm,
        showlegend=False,
        name=f"{arm}, best epoch",
        hovertemplate="epoch %{x}: %{y:.4f}",
    )


def sweep(validation: pl.DataFrame, found: Sweep) -> go.Figure:
    """Heat map of validation scores over the two fields of a sweep.

    Parameters
    ----------
    validation
        Of one model: arm, seed, value.
    found
        Which arms, and where they go.
    """
    scores = validation.group_by("arm").agg(pl.col("value").mean())
    by_arm: dict[str, float] = dict(scores.iter_rows())
    base = by_arm.get(BASELINE)
    across, down = (list(dict.fromkeys(values[part] for values in found.arms)) for part in (0, 1))
    cells = [[by_arm[found.arms[x, y]] for x in across] for y in down]
    drawn = go.Figure(
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
    drawn.update_layout(layout(310))
    drawn.update_layout(hovermode="closest")
    # Values are names here: their distances mean nothing.
    drawn.update_xaxes(type="category", title_text=found.fields[0])
    drawn.update_yaxes(type="category", title_text=found.fields[1])
    return drawn


def _in_cell(value: float, base: float | None) -> str:
    return f"{value:.3f}" if base is None else formatting.lift({"lift": value / base - 1}, digits=0)


def beside(
    parts: Iterator[tuple[str, str, pl.DataFrame]], colours: Mapping[str, str], metric: str
) -> go.Figure:
    """Mean validation score by epoch of one model in several runs, a dash each.

    Parameters
    ----------
    parts
        Name of the run, dash of its lines, curves of the model in it.
    colours
        Of the arms.
    metric
        Which validation metric.
    """
    drawn = go.Figure()
    for run, dash, curves in parts:
        for arm, colour in colours.items():
            own = curves.filter(arm=arm)
            if own.is_empty():
                continue
            seeds = [part.sort("epoch")[metric] for _, part in sorted(own.group_by("seed"))]
            line = _mean_line(seeds, arm, colour)
            drawn.add_trace(line.update(name=f"{arm}, {run}", line={"dash": dash, "width": 2}))
    drawn.update_layout(layout(340), hoverdistance=-1)
    drawn.update_xaxes(title_text="epoch", rangemode="tozero")
    drawn.update_yaxes(title_text=f"validation {formatting.title(metric)}")
    return drawn


def layout(height: int) -> dict[str, Any]:
    """What all figures have in common."""
    axis = {
        "gridcolor": "var(--grid)",
        "zeroline": False,
        "linecolor": "var(--rule)",
        "showline": True,
        "ticks": "outside",
        "tickcolor": "var(--rule)",
        "automargin": True,
        "fixedrange": True,  # a swipe on a phone goes on down the page
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
