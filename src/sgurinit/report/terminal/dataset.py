"""The summary of a data set in the terminal."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from sgurinit.data import DatasetSummary
from sgurinit.report.content_agreement import (
    AGREEMENT_HEADS,
    MEANING_OF_AGREEMENT,
    format_agreement,
)
from sgurinit.report.terminal._layout import number_table, pair_table, plain_cells


def data_table(facts: DatasetSummary) -> RenderableType:
    """Show the summary of a data set, and of each modality its features and its agreement."""
    cold = facts.test_share_on_cold_items
    rows = {
        "name": f"{facts.name} ({facts.layout} layout)",
        "users": f"{facts.n_users:,} ({facts.users_without_train:,} without training interactions)",
        "items": f"{facts.n_items:,} ({facts.items_without_train:,} without training interactions)",
        "training": f"{facts.n_train:,} interactions, density {facts.density:.2e}",
        "validation, test": f"{facts.n_valid:,}, {facts.n_test:,} interactions",
        "test on cold items": "no test interactions" if cold is None else f"{100 * cold:.1f} %",
        "per user": _format_degrees(
            facts.user_degree_median, facts.user_degree_mean, facts.user_degree_max
        ),
        "per item": _format_degrees(
            facts.item_degree_median, facts.item_degree_mean, facts.item_degree_max
        ),
        "duplicates dropped": f"{facts.duplicates:,}",
        "fingerprint": facts.fingerprint[:16],
    }
    if not facts.modalities:
        return Group(pair_table(rows), Text(f"\n{suggest_features('DATA')}"))
    modalities = number_table(
        "modality", "width", "type", "mean norm", "norm of mean", "missing", "zero"
    )
    for name, m in facts.modalities.items():
        numbers = (m.width, m.dtype, f"{m.mean_row_norm:.3g}", f"{m.norm_of_mean_row:.3g}")
        modalities.add_row(*plain_cells(name, *numbers, m.missing_rows, m.zero_rows))
    return Group(pair_table(rows), modalities, *_agreement_parts(facts))


def _agreement_parts(facts: DatasetSummary) -> list[RenderableType]:
    """Show the agreement of each modality and what it means; nothing if none is known."""
    known = {name: m.agreement for name, m in facts.modalities.items() if m.agreement is not None}
    if not known:
        return []
    table = number_table(*AGREEMENT_HEADS)
    for name, agreement in known.items():
        table.add_row(*plain_cells(name, *format_agreement(asdict(agreement))))
    return [table, Text(MEANING_OF_AGREEMENT, style="dim")]


def suggest_features(data: str) -> str:
    """Suggest how to add features to a data set that has none."""
    return (
        f"no item features yet: add them with `sgurinit encode {data}` and --text, --images, "
        "--attributes or --vectors, or with `sgurinit prepare --features`"
    )


def _format_degrees(median: float, mean: float, largest: int) -> str:
    return f"median {median:g}, mean {mean:.1f}, maximum {largest:,} training interactions"
