"""How figures are worded on the page and in the terminal; the only place that rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sgurinit.arms import BASELINE, CONTROL, METHOD
from sgurinit.experiments.lifts import HEADLINE_METRIC, Entry
from sgurinit.experiments.untrained import CEILING, POPULARITY

_CONTROLS = {
    CONTROL: "The permuted control, which keeps the scale but not the meaning",
    "hybrid": "Hybrid, with collaborative columns",
    "hybrid-shuffled": "Hybrid with its content shuffled among the items",
    "collaborative": "Collaborative columns alone",
}
_NAMED = 4  # models that the headline lists; of more it says how they spread


def title(metric: str) -> str:
    """Write a metric as a reader does, ``Recall@20``."""
    return metric.capitalize() if metric.startswith("recall") else metric.upper()


def score(metric: Mapping[str, Any], *, spread: bool = True) -> str:
    """Mean with its standard deviation over seeds, ``0.0934 ± 0.0012``."""
    if spread and metric["sd"] is not None:
        return f"{metric['mean']:.4f} ± {metric['sd']:.4f}"
    return f"{metric['mean']:.4f}"


def signed(value: float, digits: int) -> str:
    """Write a number that can be negative, with a true minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def lift(metric: Mapping[str, Any], digits: int = 1) -> str:
    """Relative gain over random, ``+3.1 %``, empty where there is none to give."""
    value = metric.get("lift")
    return "" if value is None else f"{100 * value:+.{digits}f} %".replace("-", "−")


def p_value(metric: Mapping[str, Any]) -> str:
    """Adjusted over models; ``<0.001`` below three decimals, empty where there is none to give."""
    value = metric.get("p_holm", metric.get("p_value"))
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def epochs(values: Sequence[int | None] | None) -> str:
    """Mean of epochs over seeds, with how many seeds never got there."""
    if not values:
        return ""
    reached = [value for value in values if value is not None]
    if not reached:
        return "never"
    mean = f"{sum(reached) / len(reached):.0f}"
    missed = len(values) - len(reached)
    return f"{mean} ({missed}/{len(values)} never)" if missed else mean


def untrained(name: str) -> tuple[str, str]:
    """Model and arm, in the words of a table, of a score without training."""
    if name in {POPULARITY, CEILING}:
        return name, ""
    return "untrained", name


def headline(entries: Sequence[Entry], n_seeds: int) -> str:
    """Say in a sentence or two what came out, whichever way it went."""
    arms = {entry["arm"] for entry in entries}
    if BASELINE not in arms or len(arms) == 1:
        best = max(entries, key=lambda entry: float(entry["test"][HEADLINE_METRIC]["mean"]))
        return (
            f"Highest test Recall@20: {best['model']} from {best['arm']}, "
            f"{score(best['test'][HEADLINE_METRIC])}."
        )
    arm = METHOD if METHOD in arms else next(e["arm"] for e in entries if e["arm"] != BASELINE)
    own = [entry for entry in entries if entry["arm"] == arm]
    better = sum(_gain(entry) > 0 for entry in own)
    sentence = (
        f"Started from {arm} instead of at random, {better} of {len(own)} models reach a higher "
        f"test Recall@20 (mean of {n_seeds} seed{'s' if n_seeds > 1 else ''}): {_gains(own)}."
    )
    for name, what in _CONTROLS.items():
        own = [e for e in entries if e["arm"] == name]
        if own and name != arm:
            sentence += f" {what}: {_gains(own, sure=False)}."
    return sentence


def _gains(entries: Sequence[Entry], *, sure: bool = True) -> str:
    """Every model's gain, or of many models the middle, both ends and how many are sure."""
    known = [e for e in entries if e["test"][HEADLINE_METRIC].get("lift") is not None]
    if len(entries) <= _NAMED or not known:
        return ", ".join(f"{e['model']}\u00a0{_with_p(e) if sure else _lift(e)}" for e in entries)
    known.sort(key=lambda e: float(e["test"][HEADLINE_METRIC]["lift"]))
    middle = median(e["test"][HEADLINE_METRIC]["lift"] for e in known)
    low, high = (
        f"{lift(e['test'][HEADLINE_METRIC])} ({e['model']})" for e in (known[0], known[-1])
    )
    words = f"median {lift({'lift': middle})}, from {low} to {high}".replace(" %", "\u00a0%")
    if not sure:
        return words
    p_values = [e["test"][HEADLINE_METRIC].get("p_holm") for e in known]
    return f"{words}; adjusted p < 0.05 for {sum(p is not None and p < 0.05 for p in p_values)}"


def _lift(entry: Entry) -> str:
    """Lift without a break in it."""
    return (lift(entry["test"][HEADLINE_METRIC]) or "n/a").replace(" ", "\u00a0")


def _gain(entry: Entry) -> float:
    return float(entry["test"][HEADLINE_METRIC]["mean_difference"])


def _with_p(entry: Entry) -> str:
    """Lift and p, joined by spaces at which no line breaks."""
    metric = entry["test"][HEADLINE_METRIC]
    p = p_value(metric)
    words = lift(metric) or "n/a"
    if p:
        words += f" (p < {p[1:]})" if p.startswith("<") else f" (p = {p})"
    return words.replace(" ", "\u00a0")
