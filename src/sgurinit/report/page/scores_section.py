"""Tables of scores as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from sgurinit.arms import BASELINE
from sgurinit.experiments.lifts import HEADLINE_METRIC, Entry
from sgurinit.report import formatting
from sgurinit.report.page.markup import Cell, table, text

METRICS = {"recall@10": "Recall@10", "recall@20": "Recall@20"} | {
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
}
GROUP_METRICS = {"recall@20": "Recall@20", "ndcg@20": "NDCG@20"}
_EPOCHS = ("best epoch", "epochs to random’s best")
Colours = Mapping[str, str]


def test_scores(entries: Sequence[Entry], untrained: Sequence[Entry], colours: Colours) -> str:
    """Test metrics of every model and arm, what sets it apart from random, and its epochs.

    Then what scores without training.
    """
    best = {
        (model, metric): max(e["test"][metric]["mean"] for e in entries if e["model"] == model)
        for model in {entry["model"] for entry in entries}
        for metric in METRICS
    }
    rows = [
        (
            entry["model"],
            [
                text(entry["arm"], colours[entry["arm"]]),
                *(
                    score_cell(found, is_best=found["mean"] == best[entry["model"], metric])
                    for metric in METRICS
                    for found in [entry["test"][metric]]
                ),
                *_against_random(entry),
            ],
        )
        for entry in entries
    ]
    for entry in untrained:
        model, arm = formatting.untrained(entry["name"])
        cells = [text(arm, colours.get(arm, "")), *(score_cell(entry["test"][m]) for m in METRICS)]
        rows.append((model, [*cells, Cell(""), Cell(""), Cell("0", 0.0), Cell("")]))
    heads = ["model", "arm", *METRICS.values(), "lift", "p", *_EPOCHS]
    return table("results", "Test results by model and arm", heads, rows)


def score_cell(metric: Mapping[str, Any], *, is_best: bool = False) -> Cell:
    """Mean and spread; the exact number stays with the cell."""
    mean, _, spread = formatting.score(metric).partition(" ± ")
    small = f"± {spread}" if spread else ""
    return Cell(mean, metric["mean"], small, "best" if is_best else "")


def _against_random(entry: Entry) -> Iterator[Cell]:
    recall = entry["test"][HEADLINE_METRIC]
    if entry["arm"] == BASELINE:
        yield from (Cell(""), Cell(""))
    else:
        yield Cell(formatting.lift(recall), recall.get("lift"))
        yield Cell(formatting.p_value(recall), recall.get("p_holm", recall.get("p_value")))
    for counts in ([epoch + 1 for epoch in entry["best_epochs"]], _needed(entry)):
        known = [count for count in counts if count is not None]
        yield Cell(formatting.epochs(counts), fmean(known) if known else None)


def _needed(entry: Entry) -> Sequence[int | None]:
    return entry.get("epochs_to_random_best") or []


def group_scores(entries: Sequence[Entry], colours: Colours) -> str:
    """Test Recall@20 of every model and arm by group of users and items."""
    names = list(entries[0]["groups"])
    rows = [
        (
            entry["model"],
            [text(entry["arm"], colours[entry["arm"]])]
            + [_with_gain(entry, entry["groups"][name][HEADLINE_METRIC]) for name in names],
        )
        for entry in entries
    ]
    return table("groups", "Test Recall@20 by group", ["model", "arm", *names], rows)


def cold_scores(entries: Sequence[Entry], groups: Sequence[str], colours: Colours) -> str:
    """Recall@20 and NDCG@20 of items without a training interaction, with their spread."""
    rows = [
        (
            entry["model"],
            [text(entry["arm"], colours[entry["arm"]])]
            + [
                cell
                for group in groups
                for metric in GROUP_METRICS
                for found in [entry["groups"][group][metric]]
                for cell in (score_cell(found), _gain(entry, found))
            ],
        )
        for entry in entries
    ]
    heads = [
        head
        for group in groups
        for name in GROUP_METRICS.values()
        for head in (f"{name}, {group}", "lift")
    ]
    return table("cold", "Scores of cold items", ["model", "arm", *heads], rows)


def _gain(entry: Entry, metric: Mapping[str, Any]) -> Cell:
    if entry["arm"] == BASELINE:
        return Cell("")
    return Cell(formatting.lift(metric), metric.get("lift"))


def _with_gain(entry: Entry, metric: Mapping[str, Any]) -> Cell:
    gain = "" if entry["arm"] == BASELINE else formatting.lift(metric)
    return Cell(formatting.score(metric, spread=False), metric["mean"], gain)
