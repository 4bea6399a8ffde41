"""The section with the test scores of every model and arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from sgurinit.arms import BASELINE
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.summary import (
    HEADLINE_METRIC,
    SummaryEntry,
    average_epochs,
    control_rows,
)
from sgurinit.report.formatting import (
    INTERVAL_TEXT,
    format_convergence,
    format_epoch_limit,
    format_epochs,
    format_interval,
    format_lift,
    format_metric,
    format_p_value,
    format_percent,
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
        *_controls_parts(entries, colors),
        *([note(f"Note: {limit}.")] if (limit := format_epoch_limit(found.entries)) else []),
        note(_protocol(found.settings)),
    ]
    arms = {entry["arm"] for entry in entries}
    if BASELINE in arms and len(arms) > 1:
        caption = "Lift of test Recall@20 over random"
        legend = (
            "Lines: 95 % interval over users and seeds. Filled marks: adjusted p < 0.05. Hollow "
            "marks: not. Small dots: single seeds."
        )
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
        rows.append((model, [*cells, Cell(""), Cell(""), Cell("0", 0.0), Cell(""), Cell("")]))
    heads = ["model", "arm", *map(format_metric, _SHOWN_METRICS)]
    heads += ["over random", "p", "best epoch", "start", "epochs to 99 %"]
    return sortable_table("results", "Test results by model and arm", heads, rows)


def _controls_parts(entries: Sequence[SummaryEntry], colors: Colors) -> list[str]:
    """Show lifts over random next to those over controls; empty if no control was compared."""
    rows = [
        (
            entry["model"],
            [
                text_cell(entry["arm"], colors[entry["arm"]]),
                text_cell(control, colors[control]),
                lift_cell(entry["test"][HEADLINE_METRIC]),
                *_tested_cells(entry["against"][control][HEADLINE_METRIC]),
            ],
        )
        for entry, control in control_rows(entries)
    ]
    if not rows:
        return []
    heads = ["model", "arm", "control", "over random", "over its control", "p"]
    text = (
        "Lift of Recall@20 over random and over the arm’s controls, which lack its meaning or a "
        "part of it."
    )
    return [sortable_table("controls", "Arms and their controls", heads, rows), note(text)]


def score_cell(metric: Mapping[str, Any], *, is_best: bool = False) -> Cell:
    """Show the mean and the standard deviation. The cell keeps the exact mean."""
    mean, _, spread = format_score(metric).partition(" ± ")
    small = f"± {spread}" if spread else ""
    return Cell(mean, metric["mean"], small, "best" if is_best else "")


def lift_cell(metric: Mapping[str, Any]) -> Cell:
    """Show a lift and its interval; empty if it is unknown."""
    return Cell(format_lift(metric), metric.get("lift"), format_interval(metric))


def _tested_cells(metric: Mapping[str, Any]) -> Iterator[Cell]:
    """Lift and adjusted p-value."""
    yield lift_cell(metric)
    p = metric.get("p_holm")
    yield Cell(format_p_value(p), p)


def _comparison_cells(entry: SummaryEntry) -> Iterator[Cell]:
    yield from _tested_cells(entry["test"][HEADLINE_METRIC])
    yield Cell(format_epochs(entry["best_epochs"]), average_epochs(entry["best_epochs"])[0])
    shares = [share for share in entry.get("start_share", ()) if share is not None]
    share = fmean(shares) if shares else None
    yield Cell(format_percent(share, 0).lstrip("+"), share)
    counts = entry.get("epochs_to_99_percent") or []
    yield Cell(format_convergence(counts), average_epochs(counts)[0])


def _protocol(settings: ComparisonSettings) -> str:
    """Explain how the scores were computed."""
    seeds = f"{settings.seeds} seeds" if settings.seeds > 1 else "1 seed"
    validation = (
        "validation items are excluded, too"
        if settings.mask_valid
        else "validation items are included, as is common in the literature"
    )
    return (
        f"Mean ± standard deviation over {seeds}; the best mean of each model is in bold. Over: "
        f"lift of Recall@20. {INTERVAL_TEXT} p: bootstrap over users and seeds, Holm-adjusted "
        f"for the number of models. All items that a user has no training interaction with are "
        f"ranked; {validation}. Each run was tested once, with the weights of its best validation "
        "epoch; epoch 0 is the start. Start: validation score before training, as a share of the "
        "best one of the random run with the same seed. Epochs to 99 %: trained epochs until the "
        "validation score reached 99 % of that best one."
    )
