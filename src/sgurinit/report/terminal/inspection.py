"""A data set and a start as tables for the terminal. Needs neither torch nor plotly."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sgurinit.core.diagnostics import Diagnostics
from sgurinit.data import DatasetSummary


def data_table(facts: DatasetSummary) -> RenderableType:
    """Facts about a data set, and one row per modality."""
    cold = facts.test_share_on_cold_items
    rows = {
        "name": f"{facts.name} ({facts.layout} layout)",
        "users": f"{facts.n_users:,} ({facts.users_without_train:,} without training interactions)",
        "items": f"{facts.n_items:,} ({facts.items_without_train:,} without training interactions)",
        "training": f"{facts.n_train:,} interactions, density {facts.density:.2e}",
        "validation, test": f"{facts.n_valid:,}, {facts.n_test:,} interactions",
        "test on cold items": "no test interactions" if cold is None else f"{100 * cold:.1f} %",
        "per user": _degrees(
            facts.user_degree_median, facts.user_degree_mean, facts.user_degree_max
        ),
        "per item": _degrees(
            facts.item_degree_median, facts.item_degree_mean, facts.item_degree_max
        ),
        "duplicates dropped": f"{facts.duplicates:,}",
        "fingerprint": facts.fingerprint[:16],
    }
    modalities = table("modality", "width", "type", "mean norm", "norm of mean", "missing", "zero")
    for name, m in facts.modalities.items():
        numbers = (m.width, m.dtype, f"{m.mean_row_norm:.3g}", f"{m.norm_of_mean_row:.3g}")
        modalities.add_row(*cells(name, *numbers, m.missing_rows, m.zero_rows))
    return Group(pairs(rows), modalities)


def start_table(diagnostics: Diagnostics) -> RenderableType:
    """Which policies applied in a fit, and one row per modality.

    Alignment is the mean cosine of a user with their own items minus that with random items: of
    random users before, of the start after.
    """
    rows = {
        "users": f"{diagnostics.n_users:,}",
        "without interactions": f"{diagnostics.users_without_interactions:,} "
        "(start from the popular clusters)",
        "items": f"{diagnostics.n_items:,}",
        "interactions": f"{diagnostics.n_interactions:,}",
    }
    heads = ("modality", "user norm", "item norm", "clusters", "no row", "align before", "after")
    modalities = table(*heads)
    spaces = dict(diagnostics.modalities)
    if diagnostics.joint is not None:
        spaces["(joint)"] = diagnostics.joint
    for name, m in spaces.items():
        norms = (f"{m.user_mean_norm:.3g}", f"{m.item_mean_norm:.3g}")
        sizes = f"{min(m.cluster_sizes):,}–{max(m.cluster_sizes):,}"
        gap = (f"{m.gap_before.alignment:.3f}", f"{m.gap_after.alignment:.3f}")
        modalities.add_row(*cells(name, *norms, sizes, m.items_without_features, *gap))
    return Group(pairs(rows), modalities)


def _degrees(median: float, mean: float, largest: int) -> str:
    return f"median {median:g}, mean {mean:.1f}, most {largest:,} training interactions"


def pairs(rows: dict[str, str]) -> Table:
    """Names and values, a line each."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def table(*heads: str) -> Table:
    """Make an empty table of figures; its first column holds names."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for number, head in enumerate(heads):
        if number:
            table.add_column(head, justify="right", no_wrap=True)
        else:
            table.add_column(head, overflow="fold")
    return table


def cells(*values: object) -> list[Text]:
    """Show values as they are: no markup in a name counts."""
    return [Text(str(value)) for value in values]
