"""The estimated time of a study in the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from sgurinit.experiments.cost import USUAL_EPOCHS, ModelCost
from sgurinit.report.terminal._layout import plain_cells


def costs_table(costs: Sequence[ModelCost]) -> Table:
    """Show the numbers of runs and the expected hours of each model, and their sum."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in ("trials", "exchange", "again", "runs", "s/epoch", "epochs", "per trial", "hours"):
        table.add_column(name, justify="right", no_wrap=True)
    for cost in costs:
        cells = plain_cells(
            cost.model,
            *map(str, cost.counts),
            f"{cost.seconds_per_epoch:.3g}",
            f"{cost.epochs:.0f}",
            f"{cost.epochs_per_trial:.0f}",
            f"{cost.hours:.2f}",
        )
        table.add_row(*cells)
    table.add_section()
    sums = [str(sum(n)) for n in zip(*(cost.counts for cost in costs), strict=True)]
    table.add_row("sum", *sums, "", "", "", f"{sum(cost.hours for cost in costs):.2f}")
    return table


def describe_assumptions(costs: Sequence[ModelCost]) -> str:
    """Say what the estimate is based on."""
    measured = [cost.model for cost in costs if not cost.n_finished]
    lines = []
    if len(measured) < len(costs):
        lines.append("times and epochs: the mean of the finished runs of a model")
    if measured:
        lines.append(
            f"measured in two epochs, with up to {USUAL_EPOCHS} epochs per run assumed: "
            f"{', '.join(measured)}"
        )
    lines.append("trials that are stopped take fewer; values beyond an edge are not counted")
    return "\n".join(lines)
