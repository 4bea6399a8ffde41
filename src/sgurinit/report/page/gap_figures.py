"""Figures of how far users are from items. Colours are names of the style sheet."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl

from sgurinit.report.page.figures import by_model, layout, places


def closing(gaps: pl.DataFrame, colours: Mapping[str, str]) -> go.Figure:
    """Alignment of every model's users with their items: hollow as started, filled as trained.

    Parameters
    ----------
    gaps
        model, arm, stage (start, trained), measure, value.
    colours
        Of the arms to draw, in the order of the legend.
    """
    found = gaps.filter(pl.col("arm").is_in(list(colours)), measure="alignment")
    models = found["model"].unique(maintain_order=True).to_list()
    arms = [arm for arm in colours if arm in set(found["arm"])]
    values = {(m, a, s): v for m, a, s, v in found.drop("measure").iter_rows()}
    drawn = go.Figure()
    for arm, height in places(models, arms).items():
        own = [model for model in models if (model, arm, "trained") in values]
        ends = [(values[m, arm, "start"], values[m, arm, "trained"], height[m]) for m in own]
        drawn.add_scatter(
            x=[x for start, trained, _ in ends for x in (start, trained, None)],
            y=[y for _, _, place in ends for y in (place, place, None)],
            mode="lines",
            line={"color": colours[arm], "width": 2},
            opacity=0.5,
            legendgroup=arm,
            showlegend=False,
            hoverinfo="skip",
        )
        for at, (stage, symbol) in enumerate((("started", "circle-open"), ("trained", "circle"))):
            drawn.add_scatter(
                x=[end[at] for end in ends],
                y=[end[2] for end in ends],
                mode="markers",
                marker={
                    "color": colours[arm],
                    "size": 10,
                    "symbol": symbol,
                    "line": {"width": 2, "color": colours[arm]},
                },
                name=arm,
                legendgroup=arm,
                showlegend=stage == "trained",
                text=[f"{model}, {arm}, {stage}" for model in own],
                hovertemplate="%{text}: %{x:.3f}<extra></extra>",
            )
    by_model(drawn, models, len(arms), "alignment of users with their own items")
    return drawn


def projection(points: pl.DataFrame, colour: str) -> go.Figure:
    """Sampled users and items of one arm in a plane.

    Parameters
    ----------
    points
        Of one arm: kind, id, x, y.
    colour
        Of the users.
    """
    drawn = go.Figure()
    looks = {
        "item": {"color": "var(--ink)", "size": 6, "symbol": "diamond-open"},
        "user": {"color": colour, "size": 5, "opacity": 0.75},
    }
    for kind, marker in looks.items():
        own = points.filter(kind=kind)
        drawn.add_scatter(
            x=own["x"].to_list(),
            y=own["y"].to_list(),
            text=own["id"].cast(pl.String).to_list(),
            mode="markers",
            name=f"{kind}s",
            marker=marker,
            hovertemplate=f"{kind} %{{text}}<extra></extra>",
        )
    drawn.update_layout(layout(300))
    drawn.update_layout(hovermode="closest", margin={"l": 12, "r": 12, "b": 12})
    # Where a point lies says nothing but how near it is to others.
    bare = {"showticklabels": False, "ticks": "", "title": None, "showgrid": False}
    drawn.update_xaxes(**bare, linecolor="var(--grid)", mirror=True)
    drawn.update_yaxes(**bare, linecolor="var(--grid)", mirror=True)
    return drawn


def cosines(shares: pl.DataFrame, colour: str, highest: float) -> go.Figure:
    """How the cosines of one arm's users with items spread: their own, and random ones.

    Parameters
    ----------
    shares
        Of one arm: pairs, low, high, share.
    colour
        Of users with their own items.
    highest
        Largest share in any arm, so that figures of several can be compared.
    """
    drawn = go.Figure()
    looks = {
        "random": {"color": "var(--rule)", "width": 2, "dash": "dot"},
        "own": {"color": colour, "width": 2},
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
    drawn.update_layout(layout(250))
    drawn.update_xaxes(title_text="cosine", range=[-1, 1])
    drawn.update_yaxes(title_text="pairs, %", range=[0, 105 * highest])
    return drawn
