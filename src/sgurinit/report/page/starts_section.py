"""The section on the starts themselves: the semantic gap of every arm before training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.report.formatting import format_signed
from sgurinit.report.page.embed import embed_figure
from sgurinit.report.page.figures.gap import draw_cosines, draw_projection
from sgurinit.report.page.figures.style import Colors
from sgurinit.report.page.markup import Cell, Section, figure_grid, note, sortable_table

MEASURES = {
    "alignment": "alignment",
    "centroid_distance": "centroid distance",
    "separability": "separability",
}
MEANING_OF_MEASURES = (
    "Alignment: mean cosine of users with their own items, minus that with random items. Centroid "
    "distance: distance of the mean user from the mean item, relative to the mean norm. "
    "Separability: how well a linear classifier tells users from items (AUC; 0.5: not at all)."
)


def make_starts_section(found: ComparisonFolder, colors: Colors) -> Section | None:
    """Show users and items of every start; None if the comparison has no starts."""
    gap, points, shares = (found.start_table(name) for name in ("gap", "points", "cosines"))
    if gap is None or points is None or shares is None:
        return None
    arms = [arm for arm in gap["arm"].unique(maintain_order=True) if arm in colors]
    shares = shares.filter(pl.col("arm").is_in(arms))
    highest = float(shares["share"].max())  # type: ignore[arg-type]
    projections = (
        embed_figure(
            draw_projection(points.filter(arm=arm), colors[arm]),
            f"points-{at}",
            f"{arm}: users and items",
        )
        for at, arm in enumerate(arms)
    )
    histograms = (
        embed_figure(
            draw_cosines(shares.filter(arm=arm), colors[arm], highest),
            f"cosines-{at}",
            f"{arm}: cosines",
        )
        for at, arm in enumerate(arms)
    )
    parts = (
        note(
            "The joint space of 64 columns that initializes free user tables, with seed 0. Random "
            "is shown as normally distributed users among the same items. First row: sampled "
            "users and items, scaled to unit length, on their two principal components. Each arm "
            "has its own components. Second row: cosines of users with one of their own items and "
            "with a random item."
        ),
        figure_grid(projections, small=True),
        figure_grid(histograms, small=True),
        _measures_table(gap.filter(pl.col("arm").is_in(arms))),
        note(MEANING_OF_MEASURES),
    )
    return Section("starts", "Users and items before training", parts, "Starts")


def _measures_table(gap: pl.DataFrame) -> str:
    rows = []
    for (arm,), part in gap.group_by("arm", maintain_order=True):
        values = dict(part.select("measure", "value").iter_rows())
        rows.append((str(arm), [measure_cell(values, measure) for measure in MEASURES]))
    heads = ["arm", *MEASURES.values()]
    return sortable_table("measures", "Semantic gap by arm", heads, rows)


def measure_cell(values: Mapping[Any, float | None], key: Any) -> Cell:
    """Show a measure of the semantic gap; empty if it is unknown."""
    value = values.get(key)
    return Cell("" if value is None else format_signed(value, 3), value)
