"""Number formats of the page and the terminal. Only this module rounds scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgurinit.arms import BASELINE
from sgurinit.experiments.summary import average_epochs, is_significant
from sgurinit.experiments.untrained import CEILING, POPULARITY

INTERVAL_TEXT = "In brackets: 95 % interval over users and seeds. *: adjusted p < 0.05."
_MAX_LISTED = 4  # with more models, only their number is reported


def format_metric(name: str) -> str:
    """Format the name of a metric, such as ``Recall@20``."""
    return name.capitalize() if name.startswith("recall") else name.upper()


def format_score(metric: Mapping[str, Any], *, spread: bool = True) -> str:
    """Format the mean and its standard deviation over the seeds, such as ``0.0934 ± 0.0012``."""
    if spread and metric["sd"] is not None:
        return f"{metric['mean']:.4f} ± {metric['sd']:.4f}"
    return f"{metric['mean']:.4f}"


def format_signed(value: float, digits: int) -> str:
    """Format a number with a proper minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def format_percent(value: float | None, digits: int = 1) -> str:
    """Format a relative change, such as ``+3.1 %``; empty if it is unknown."""
    return "" if value is None else f"{100 * value:+.{digits}f} %".replace("-", "−")


def format_lift(metric: Mapping[str, Any]) -> str:
    """Format a lift, such as ``+3.1 %``; empty if it is unknown."""
    return format_percent(metric.get("lift"))


def format_interval(metric: Mapping[str, Any]) -> str:
    """Format the interval of a lift, such as ``(+1.8, +4.9)*``.

    A star marks an adjusted p-value below 0.05. An unknown interval is left out.
    """
    star = "*" if is_significant(metric) else ""
    if metric.get("low") is None:
        return star
    low, high = (f"{100 * metric[end]:+.1f}" for end in ("low", "high"))
    return f"({low}, {high}){star}".replace("-", "−")


def format_p_value(p: float | None) -> str:
    """Format a p-value, ``<0.001`` if it is smaller; empty if it is unknown."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_epochs(counts: Sequence[int | None] | None) -> str:
    """Format the mean over the seeds, with the number of seeds that never reached the goal."""
    if not counts:
        return ""
    mean, missed = average_epochs(counts)
    if mean is None:
        return "never"
    return f"{mean:.0f} ({missed}/{len(counts)} never)" if missed else f"{mean:.0f}"


def format_convergence(counts: Sequence[int | None] | None) -> str:
    """Format epochs to a goal as `format_epochs`, and say how many starts were there before."""
    text, before = format_epochs(counts), (counts or ()).count(0)
    if not before:
        return text
    which = "" if counts is None or before == len(counts) else f"{before}/{len(counts)} "
    return f"{text} ({which}there before training)"


def format_epoch_limit(entries: Sequence[Mapping[str, Any]]) -> str:
    """Warn of runs that stopped at the epoch limit; empty if none did or it is unknown.

    Random initialization needs the most epochs, so other arms are only named if it is not affected.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of the summary.
    """
    cut = [entry for entry in entries if entry.get("at_epoch_limit")]
    if not cut:
        return ""
    base = [entry for entry in cut if entry["arm"] == BASELINE]
    shown = base or cut
    arms, models = (
        list(dict.fromkeys(entry[field] for entry in shown)) for field in ("arm", "model")
    )
    subject, which = (
        ", ".join(names) if len(names) <= _MAX_LISTED else f"{len(names)} {kind}"
        for names, kind in ((arms, "arms"), (models, "models"))
    )
    effect = "their scores are" if len(arms) > 1 else "its score is"
    if base:
        effect = "its score, and every lift over it, is"
    runs = sum(len(entry["epochs"]) for entry in shown)
    return (
        f"{subject} stopped at the epoch limit in "
        f"{sum(entry['at_epoch_limit'] for entry in shown)} of {runs} runs of {which}: "
        f"{effect} not final; raise max_epochs"
    )


def label_untrained(name: str) -> tuple[str, str]:
    """Model and arm to show for a score without training."""
    if name in {POPULARITY, CEILING}:
        return name, ""
    return "untrained", name
