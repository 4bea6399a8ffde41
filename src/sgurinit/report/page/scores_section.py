"""The section with the test scores of every model and arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sgurinit.arms import BASELINE
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.summary import HEADLINE_METRIC, SummaryEntry, average_epochs
from sgurinit.report.formatting import (
    adjusted_p_value,
    format_epoch_limit,
    format_epochs,
    format_lift,
    format_metric,
    format_p_value,
    format_score,
    label_untrained,
)
from sgurinit.report.page.embed import embed_figure
from sgurinit.report.page.figures.scores import draw_lifts
from sgurinit.report.page.figures.style import Colors
from sgurinit.report.page.markup import Cell, Section, note, sortable_table, text_cell

_SHOWN_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def make_scores_section(
    found: ComparisonFolder, entries: Sequence[SummaryEntry], colors: Colors
) -> Section:
    """Show the lifts over random as a figure, and all test scores as a table."""
    parts = [
        _scores_table(entries, found.summary.get("untrained", []), colors),
        *([note(f"Note: {limit}.")] if (limit := format_epoch_limit(found.entries)) else []),
        note(_protocol(found.settings)),
    ]
    arms = {entry["arm"] for entry in entries}
    if BASELINE in arms and len(arms) > 1:
        caption = "Lift of test Recall@20 over random"
        legend = "Filled marks: adjusted p < 0.05. Hollow marks: not. Small dots: single seeds."
        figure = embed_figure(draw_lifts(entries, colors), "lifts", caption, wide=True)
        parts = [figure, note(legend), *parts]
    return Section("scores", "Test results", tuple(parts), "Scores")


def _scores_table(
    entries: Sequence[SummaryEntry], untrained: Sequence[SummaryEntry], colors: Colors
) -> str:
    """Scores of every model and arm, then scores without training."""
    best = {
        (model, metric): max(e["test"][metric]["mean"] for e in entries if e["model"] == model)
        for model in {entry["model"] for entry in entries}
        for metric in _SHOWN_METRICS
    }
    rows = [
        (
            entry["model"],
            [
                text_cell(entry["arm"], colors[entry["arm"]]),
                *(
                    score_cell(found, is_best=found["mean"] == best[entry["model"], metric])
                    for metric in _SHOWN_METRICS
                    for found in [entry["test"][metric]]
                ),
                *_comparison_cells(entry),
            ],
        )
        for entry in entries
    ]
    for entry in untrained:
        model, arm = label_untrained(entry["name"])
        scores = (score_cell(entry["test"][metric]) for metric in _SHOWN_METRICS)
        cells = [text_cell(arm, colors.get(arm, "")), *scores]
        rows.append((model, [*cells, Cell(""), Cell(""), Cell("0", 0.0), Cell("")]))
    heads = ["model", "arm", *map(format_metric, _SHOWN_METRICS)]
    heads += ["lift", "p", "best epoch", "epochs to random’s best"]
    return sortable_table("results", "Test results by model and arm", heads, rows)


def score_cell(metric: Mapping[str, Any], *, is_best: bool = False) -> Cell:
    """Show the mean and the standard deviation. The cell keeps the exact mean."""
    mean, _, spread = format_score(metric).partition(" ± ")
    small = f"± {spread}" if spread else ""
    return Cell(mean, metric["mean"], small, "best" if is_best else "")


def lift_cell(entry: SummaryEntry, metric: Mapping[str, Any]) -> Cell:
    """Show the lift over random; empty for random itself."""
    if entry["arm"] == BASELINE:
        return Cell("")
    return Cell(format_lift(metric), metric.get("lift"))


def _comparison_cells(entry: SummaryEntry) -> Iterator[Cell]:
    recall = entry["test"][HEADLINE_METRIC]
    yield lift_cell(entry, recall)
    p = None if entry["arm"] == BASELINE else adjusted_p_value(recall)
    yield Cell(format_p_value(p), p)
    for counts in (entry["best_epochs"], entry.get("epochs_to_random_best") or []):
        yield Cell(format_epochs(counts), average_epochs(counts)[0])


def _protocol(settings: ComparisonSettings) -> str:
    """Explain how the scores were computed."""
    seeds = f"{settings.seeds} seeds" if settings.seeds > 1 else "1 seed"
    validation = (
        "validation items are excluded, too"
        if settings.mask_valid
        else "validation items are included, as is common in the literature"
    )
    return (
        f"Mean ± standard deviation over {seeds}; the best mean of each model is in bold. Lift and "
        "p refer to Recall@20 and compare with random initialization. p: paired t-test over the "
        "users, on scores averaged over the seeds, Holm-adjusted for the number of models. All "
        f"items that a user has no training interaction with are ranked; {validation}. Each run "
        "was tested once, with the weights of its best validation epoch; epoch 0 is the start. "
        "Epochs to random’s best: epochs until the validation score reached the best one of the "
        "random run with the same seed."
    )
