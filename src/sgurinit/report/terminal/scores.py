"""The scores of comparisons and single runs in the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sgurinit.evaluation import CUTOFFS, METRICS
from sgurinit.experiments.summary import HEADLINE_METRIC, SummaryEntry, control_rows
from sgurinit.experiments.sweeps import drop_sweep_cells
from sgurinit.report.formatting import (
    INTERVAL_TEXT,
    format_epochs,
    format_interval,
    format_lift,
    format_score,
    label_untrained,
)
from sgurinit.report.terminal._layout import plain_cells


def comparison_table(summary: Mapping[str, Any]) -> RenderableType:
    """Show test scores by model and arm, with lifts over random and over the arms' controls.

    Scores without training follow: popularity, each start, and the ceiling if it is known. Cells of
    a sweep over two fields are only shown on the page.

    Parameters
    ----------
    summary : mapping
        Content of ``summary.json``.
    """
    shown = drop_sweep_cells(summary["results"])
    parts: list[RenderableType] = [_scores_table(shown, summary.get("untrained", []))]
    controls = control_rows(shown)
    if controls:
        parts.append(_controls_table(controls))
    if any("low" in entry["test"][HEADLINE_METRIC] for entry in shown):
        parts.append(Text(f"Over: lift of Recall@20. {INTERVAL_TEXT}", style="dim"))
    return Group(*parts)


def _scores_table(entries: Sequence[SummaryEntry], untrained: Sequence[SummaryEntry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("arm", overflow="fold", min_width=12)
    for name in ("Recall@20", "NDCG@20", "over random", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for entry in entries:
        test, is_new = entry["test"], entry["model"] != before
        if is_new and before is not None:
            table.add_section()
        before = entry["model"]
        cells = [
            entry["model"] if is_new else "",
            entry["arm"],
            format_score(test["recall@20"]).replace(" ± ", "±"),
            format_score(test["ndcg@20"], spread=False),
            _format_lift(test[HEADLINE_METRIC]),
            format_epochs(entry["best_epochs"]),
        ]
        table.add_row(*plain_cells(*cells))
    if untrained:
        table.add_section()
    for entry in untrained:
        scores = [format_score(entry["test"][name]) for name in ("recall@20", "ndcg@20")]
        cells = [*label_untrained(entry["name"]), *scores, "", "0"]
        table.add_row(*plain_cells(*cells, style="dim"))
    return table


def _controls_table(rows: Sequence[tuple[SummaryEntry, str]]) -> Table:
    """Show the lift of each arm over random next to that over each of its controls."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in ("model", "arm", "control"):
        table.add_column(name, overflow="fold")
    for name in ("over random", "over its control"):
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for entry, control in rows:
        name = "" if before and entry["model"] == before[0] else entry["model"]
        pair = entry["model"], entry["arm"]
        lifts = (entry["test"], entry["against"][control])
        cells = [
            name,
            "" if pair == before else entry["arm"],
            control,
            *(_format_lift(scores[HEADLINE_METRIC]) for scores in lifts),
        ]
        before = pair
        table.add_row(*plain_cells(*cells))
    return table


def _format_lift(metric: Mapping[str, Any]) -> str:
    """Lift and interval, such as ``+3.3% (+1.8, +4.9)*``, aligned with and without a star."""
    text = f"{format_lift(metric)} {format_interval(metric)}".replace(" %", "%").strip()
    return text if not text or text.endswith("*") else f"{text} "


def run_table(result: Mapping[str, Any]) -> Table:
    """Show the validation and test metrics of one run.

    Parameters
    ----------
    result : mapping
        Content of ``result.json``.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("metric")
    for k in CUTOFFS:
        table.add_column(f"valid @{k}" if k == CUTOFFS[0] else f"@{k}", justify="right")
    for k in CUTOFFS:
        table.add_column(f"test @{k}" if k == CUTOFFS[0] else f"@{k}", justify="right")
    for metric in METRICS:
        cells = [f"{result[s][f'{metric}@{k}']:.4f}" for s in ("valid", "test") for k in CUTOFFS]
        table.add_row(metric, *cells)
    return table
