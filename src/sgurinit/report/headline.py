"""The headline of a comparison: its main result in one or two sentences."""

from __future__ import annotations

from collections.abc import Sequence

from sgurinit.arms import BASELINE, CONTROL, METHOD
from sgurinit.experiments.summary import (
    HEADLINE_METRIC,
    SummaryEntry,
    best_entry,
    count_significant,
    lift_spread,
)
from sgurinit.report.formatting import (
    format_interval,
    format_lift,
    format_metric,
    format_percent,
    format_score,
)

_OTHER_ARMS = {
    CONTROL: "Permuted control (same scale, meaning removed)",
    "hybrid": "Hybrid, content and interactions",
    "hybrid-shuffled": "Hybrid with shuffled content",
    "collaborative": "Interactions only",
}
_MAX_LISTED = 4  # with more models, their spread is reported instead of every lift
_METRIC = format_metric(HEADLINE_METRIC)


def format_headline(entries: Sequence[SummaryEntry], n_seeds: int) -> str:
    """State the main result: how many gains and losses are significant, and every lift.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of the summary.
    n_seeds : int
        Number of seeds.
    """
    arms = {entry["arm"] for entry in entries}
    if BASELINE not in arms or len(arms) == 1:
        best = best_entry(entries)
        return (
            f"Highest test {_METRIC}: {format_score(best['test'][HEADLINE_METRIC])}, by "
            f"{best['model']} with {best['arm']}."
        )
    arm = METHOD if METHOD in arms else next(e["arm"] for e in entries if e["arm"] != BASELINE)
    own = [entry for entry in entries if entry["arm"] == arm]
    seeds = f"mean over {n_seeds} seeds" if n_seeds > 1 else "1 seed"
    gains, losses = count_significant(own)
    sentence = (
        f"With {arm} instead of random initialization, test {_METRIC} ({seeds}) rises "
        f"significantly in {gains} of {len(own)} model{'s' if len(own) > 1 else ''} and falls "
        f"significantly in {losses}: {_format_lifts(own)}."
    )
    for name, label in _OTHER_ARMS.items():
        own = [entry for entry in entries if entry["arm"] == name]
        if own and name != arm:
            sentence += f" {label}: {_format_lifts(own)}."
    against = _entries_against(entries, "hybrid", "collaborative")
    if against:
        sentence += f" Hybrid against interactions only: {_format_lifts(against)}."
    return sentence


def _entries_against(entries: Sequence[SummaryEntry], arm: str, other: str) -> list[SummaryEntry]:
    """Entries of an arm that are compared with another arm instead of the baseline."""
    found = [(entry, entry.get("against", {}).get(other)) for entry in entries]
    return [{**entry, "test": scores} for entry, scores in found if entry["arm"] == arm and scores]


def _format_lifts(entries: Sequence[SummaryEntry]) -> str:
    """List every model's lift or, with many models, the median and both ends."""
    spread = lift_spread(entries)
    if len(entries) <= _MAX_LISTED or spread is None:
        return ", ".join(f"{e['model']}\u00a0{_format_lift(e)}" for e in entries)
    low, high = (
        f"{format_lift(e['test'][HEADLINE_METRIC])} ({e['model']})"
        for e in (spread.lowest, spread.highest)
    )
    text = f"median {format_percent(spread.median)}, from {low} to {high}"
    return text.replace(" %", "\u00a0%")


def _format_lift(entry: SummaryEntry) -> str:
    """Lift and interval without line breaks."""
    metric = entry["test"][HEADLINE_METRIC]
    text = f"{format_lift(metric) or 'n/a'} {format_interval(metric)}".strip()
    return text.replace(" ", "\u00a0")
