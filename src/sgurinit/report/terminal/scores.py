"""The scores of comparisons and single runs in the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sgurinit.arms import BASELINE
from sgurinit.evaluation import CUTOFFS, METRICS
from sgurinit.experiments.sweeps import drop_sweep_cells
from sgurinit.report.formatting import (
    adjusted_p_value,
    format_epochs,
    format_lift,
    format_p_value,
    format_score,
    label_untrained,
)


def comparison_table(summary: Mapping[str, Any]) -> Table:
    """Show test scores by model and arm, with the lift and p-value of Recall@20 over random.

    Scores without training follow: popularity, each start, and the ceiling if it is known. Cells of
    a sweep over two fields are only shown on the page.

    Parameters
    ----------
    summary : mapping
        Content of ``summary.json``.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("arm", overflow="fold", min_width=15)
    for name in ("Recall@20", "NDCG@20", "lift", "p", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = None
    for entry in drop_sweep_cells(summary["results"]):
        test, is_new = entry["test"], entry["model"] != shown
        if is_new and shown is not None:
            table.add_section()
        shown = entry["model"]
        baseline = entry["arm"] == BASELINE
        recall = test["recall@20"]
        cells = [
            entry["model"] if is_new else "",
            entry["arm"],
            format_score(recall).replace(" ± ", "±"),
            format_score(test["ndcg@20"], spread=False),
            "" if baseline else format_lift(recall).replace(" %", "%"),
            "" if baseline else format_p_value(adjusted_p_value(recall)),
            format_epochs(entry["best_epochs"]),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    if summary.get("untrained"):
        table.add_section()
    for entry in summary.get("untrained", []):
        test = entry["test"]
        scores = [format_score(test[name]) for name in ("recall@20", "ndcg@20")]
        cells = [*label_untrained(entry["name"]), *scores, "", "", "0"]
        table.add_row(*(Text(cell, style="dim") for cell in cells))
    return table


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
