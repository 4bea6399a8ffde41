"""Figures of the semantic gap between users and items."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from sgurinit.report.page.figures.style import (
    Colors,
    base_layout,
    figure_text,
    row_heights,
    set_model_rows,
)

_STAGES = (("before training", "circle-open"), ("after training", "circle"))


def draw_model_alignments(gaps: pl.DataFrame, colors: Colors) -> go.Figure:
    """Draw how well users are aligned with their items: hollow before training, filled after it.

    Parameters
    ----------
    gaps : DataFrame
        Columns model, arm, stage (start, trained), measure and value.
    colors : mapping of str to str
        Color of each arm, in the order of the legend.
    """
    found = gaps.filter(pl.col("arm").is_in(list(colors)), measure="alignment")
    models = found["model"].unique(maintain_order=True).to_list()
    arms = [arm for arm in colors if arm in set(found["arm"])]
    values = {(m, a, s): v for m, a, s, v in found.drop("measure").iter_rows()}
    drawn = go.Figure()
    for arm, height in row_heights(models, arms).items():
        own = [m for m in models if {(m, arm, "start"), (m, arm, "trained")} <= values.keys()]
        ends = [(values[m, arm, "start"], values[m, arm, "trained"], height[m]) for m in own]
        drawn.add_scatter(
            x=[x for start, trained, _ in ends for x in (start, trained, None)],
            y=[y for _, _, place in ends for y in (place, place, None)],
            mode="lines",
            line={"color": colors[arm], "width": 2},
            opacity=0.5,
            legendgroup=arm,
            showlegend=False,
            hoverinfo="skip",
        )
        for at, (stage, symbol) in enumerate(_STAGES):
            drawn.add_scatter(
                x=[end[at] for end in ends],
                y=[end[2] for end in ends],
                mode="markers",
                marker={
                    "color": colors[arm],
                    "size": 10,
                    "symbol": symbol,
                    "line": {"width": 2, "color": colors[arm]},
                },
                name=figure_text(arm),
                legendgroup=arm,
                showlegend=symbol == "circle",
                text=[figure_text(f"{model}, {arm}, {stage}") for model in own],
                hovertemplate="%{text}: %{x:.3f}<extra></extra>",
            )
    set_model_rows(drawn, models, len(arms), "alignment of users with their own items")
    return drawn


def draw_projection(points: pl.DataFrame, color: str) -> go.Figure:
    """Draw sampled users and items of one arm in a plane.

    Parameters
    ----------
    points : DataFrame
        Points of one arm: kind, id, x, y.
    color : str
        Color of the users.
    """
    drawn = go.Figure()
    looks = {
        "item": {"color": "var(--ink)", "size": 6, "symbol": "diamond-open"},
        "user": {"color": color, "size": 5, "opacity": 0.75},
    }
    for kind, marker in looks.items():
        own = points.filter(kind=kind)
        drawn.add_scatter(
            x=own["x"].to_list(),
            y=own["y"].to_list(),
            text=[figure_text(name) for name in own["id"].cast(pl.String)],
            mode="markers",
            name=f"{kind}s",
            marker=marker,
            hovertemplate=f"{kind} %{{text}}<extra></extra>",
        )
    drawn.update_layout(base_layout(300))
    drawn.update_layout(hovermode="closest", margin={"l": 12, "r": 12, "b": 12})
    # The coordinates mean nothing, only distances do.
    bare = {"showticklabels": False, "ticks": "", "title": None, "showgrid": False}
    drawn.update_xaxes(**bare, linecolor="var(--grid)", mirror=True)
    drawn.update_yaxes(**bare, linecolor="var(--grid)", mirror=True)
    return drawn


def draw_cosines(shares: pl.DataFrame, color: str, highest: float) -> go.Figure:
    """Draw histograms of the cosines of one arm's users with their own and with random items.

    Parameters
    ----------
    shares : DataFrame
        Histograms of one arm: pairs (own, random), low, high, share.
    color : str
        Color of the users' own items.
    highest : float
        Largest share in any arm, so that the figures of all arms have the same scale.
    """
    drawn = go.Figure()
    looks = {
        "random": {"color": "var(--rule)", "width": 2, "dash": "dot"},
        "own": {"color": color, "width": 2},
    }
    names = {"own": "with own items", "random": "with random items"}
    for pairs, line in looks.items():
        own = shares.filter(pairs=pairs)
        drawn.add_scatter(
            x=((own["low"] + own["high"]) / 2).to_list(),
            y=(100 * own["share"]).to_list(),
            mode="lines",
            name=names[pairs],
            line={**line, "shape": "hvh"},
            fill="tozeroy" if pairs == "own" else None,
            hovertemplate="%{y:.1f} %",
        )
    drawn.update_layout(base_layout(250))
    drawn.update_xaxes(title_text="cosine", range=[-1, 1])
    drawn.update_yaxes(title_text="pairs, %", range=[0, 105 * highest])
    return drawn
