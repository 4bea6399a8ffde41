"""The diagnostics of a start in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType

from sgurinit.core.diagnostics import Diagnostics
from sgurinit.report.terminal._layout import number_table, pair_table, plain_cells


def start_table(diagnostics: Diagnostics) -> RenderableType:
    """Show the counts of a fit, and one row per modality.

    Alignment is the mean cosine of users with their own items, minus that with random items. The
    columns show it for random users and for the start.
    """
    rows = {
        "users": f"{diagnostics.n_users:,}",
        "without interactions": f"{diagnostics.users_without_interactions:,} "
        "(initialized from the popular clusters)",
        "items": f"{diagnostics.n_items:,}",
        "interactions": f"{diagnostics.n_interactions:,}",
    }
    modalities = number_table(
        "modality", "user norm", "item norm", "clusters", "no row", "align random", "start"
    )
    spaces = dict(diagnostics.modalities)
    if diagnostics.joint is not None:
        spaces["(joint)"] = diagnostics.joint
    for name, m in spaces.items():
        norms = (f"{m.user_mean_norm:.3g}", f"{m.item_mean_norm:.3g}")
        sizes = f"{min(m.cluster_sizes):,}–{max(m.cluster_sizes):,}"
        gap = (f"{m.gap_before.alignment:.3f}", f"{m.gap_after.alignment:.3f}")
        modalities.add_row(*plain_cells(name, *norms, sizes, m.items_without_features, *gap))
    return Group(pair_table(rows), modalities)
