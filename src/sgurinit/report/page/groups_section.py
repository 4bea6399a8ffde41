"""The sections with scores by group: kinds of users and items, and cold items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgurinit.arms import BASELINE
from sgurinit.evaluation.groups import AMONG_COLD, COLD
from sgurinit.experiments.summary import GROUP_METRICS, HEADLINE_METRIC, SummaryEntry
from sgurinit.report.formatting import (
    INTERVAL_TEXT,
    format_interval,
    format_lift,
    format_metric,
    format_score,
)
from sgurinit.report.page.embed import embed_figure
from sgurinit.report.page.figures.scores import draw_group_lifts
from sgurinit.report.page.figures.style import Colors
from sgurinit.report.page.markup import (
    Cell,
    Section,
    figure_grid,
    fold,
    note,
    sortable_table,
    text_cell,
)
from sgurinit.report.page.scores_section import lift_cell, score_cell


def make_groups_section(entries: Sequence[SummaryEntry], colors: Colors) -> Section | None:
    """Show the lifts in groups of users and items; None if there are no groups."""
    groups = _groups(entries)
    if not groups:
        return None
    warm = [name for name in groups if name not in _cold_groups(groups)]
    models = dict.fromkeys(entry["model"] for entry in entries)
    by_model = {model: [e for e in entries if e["model"] == model] for model in models}
    figures = (
        embed_figure(draw_group_lifts(own, warm, colors), f"groups-{at}", model)
        for at, (model, own) in enumerate(by_model.items())
        if len(own) > 1 and any(entry["arm"] == BASELINE for entry in own)
    )
    parts = (
        note(
            "Lift of test Recall@20 over random. Users are grouped by their number of training "
            "interactions. Items are grouped by popularity: all items are ranked, but only items "
            "of the group count as hits."
        ),
        figure_grid(figures),
        fold("Show as a table", _groups_table(entries, groups, colors) + note(INTERVAL_TEXT)),
    )
    return Section("groups", "Which users and items gain", parts, "Groups")


def make_cold_items_section(entries: Sequence[SummaryEntry], colors: Colors) -> Section | None:
    """Show the scores of cold items; None if the test data have none."""
    groups = _cold_groups(_groups(entries))
    if not groups:
        return None
    parts = (
        note(
            "Items without training interactions. “Cold items”: all items are ranked, but only "
            "cold items count as hits. “Cold among cold”: only cold items are ranked."
        ),
        _cold_items_table(entries, groups, colors),
    )
    return Section("cold-items", "Cold items", parts, "Cold items")


def _groups(entries: Sequence[SummaryEntry]) -> list[str]:
    return list(entries[0].get("groups", {}))


def _cold_groups(groups: Sequence[str]) -> list[str]:
    return [name for name in (COLD, AMONG_COLD) if name in groups]


def _groups_table(entries: Sequence[SummaryEntry], groups: Sequence[str], colors: Colors) -> str:
    rows = [
        (
            entry["model"],
            [text_cell(entry["arm"], colors[entry["arm"]])]
            + [_score_and_lift(entry["groups"][name][HEADLINE_METRIC]) for name in groups],
        )
        for entry in entries
    ]
    heads = ["model", "arm", *groups]
    return sortable_table("groups-table", "Test Recall@20 by group", heads, rows)


def _score_and_lift(metric: Mapping[str, Any]) -> Cell:
    lift = f"{format_lift(metric)} {format_interval(metric)}".strip()
    return Cell(format_score(metric, spread=False), metric["mean"], lift)


def _cold_items_table(
    entries: Sequence[SummaryEntry], groups: Sequence[str], colors: Colors
) -> str:
    rows = [
        (
            entry["model"],
            [text_cell(entry["arm"], colors[entry["arm"]])]
            + [
                cell
                for group in groups
                for metric in GROUP_METRICS
                for found in [entry["groups"][group][metric]]
                for cell in (score_cell(found), lift_cell(found))
            ],
        )
        for entry in entries
    ]
    heads = [
        head
        for group in groups
        for metric in GROUP_METRICS
        for head in (f"{format_metric(metric)}, {group}", "lift")
    ]
    return sortable_table("cold", "Scores of cold items", ["model", "arm", *heads], rows)
